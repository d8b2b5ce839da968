//! The record key.
//!
//! The invariant: **all events that concern one user have one key**, and so one partition, and so an order. That holds across the
//! two kinds: a login of a user and an administrator's change of the same user.
//!
//! Kafka orders records only within a partition, and the key chooses it. An event that concerns no user is kept in order with those
//! of the same resource in the same realm.

use keyferry_journal::event::{EventKind, EventView};

use crate::redaction::OfUser;

/// Writes the key of `event` to the end of `key`; answers whether it is the user's id, as it may be told.
///
/// The key is the id of the user whom the event concerns: of a user event its `userId`, of an admin event the `{id}` of a resource
/// path `users/{id}/…`. Where there is none it is `<realm id>/<client id>` for a user event and
/// `<realm id>/<resource path>` for an admin event; parts that are unknown are empty. Of a user who must not be told the key says nothing,
/// and the path is left out as well.
pub(crate) fn write_key(event: &EventView<'_>, of_user: OfUser<'_>, key: &mut Vec<u8>) -> bool {
    let user = concerned_user(event);
    if let (Some(user), OfUser::Told | OfUser::Hashed(_)) = (user, of_user) {
        write_user(user, of_user, key);
        return true;
    }
    let resource = match event.kind() {
        EventKind::User => event.client(),
        EventKind::Admin => event.resource_path().filter(|_| user.is_none()),
    };
    key.extend_from_slice(event.realm_id().unwrap_or_default().as_bytes());
    key.push(b'/');
    key.extend_from_slice(resource.unwrap_or_default().as_bytes());
    false
}

/// Writes the id of a user to the end of `written`, as it may be told.
pub(crate) fn write_user(user: &str, of_user: OfUser<'_>, written: &mut Vec<u8>) {
    match of_user {
        OfUser::Told => written.extend_from_slice(user.as_bytes()),
        OfUser::Hashed(key) => key.write_hash(user.as_bytes(), written),
        OfUser::Untold => {}
    }
}

/// The id of the user whom `event` concerns, if it concerns one.
///
/// The administrator who makes a change is not the one whom it concerns.
pub fn concerned_user<'a>(event: &EventView<'a>) -> Option<&'a str> {
    match event.kind() {
        EventKind::User => event.user_id().filter(|id| !id.is_empty()),
        EventKind::Admin => event.resource_path().and_then(user_of_path),
    }
}

/// `users/{id}` and `users/{id}/…` give the id. `users/profile` is the realm's user profile, not a user.
pub(crate) fn user_of_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("users/")?;
    let id = rest.split('/').next()?;
    (!id.is_empty() && id != "profile").then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_path_names_its_user() {
        assert_eq!(user_of_path("users/42"), Some("42"));
        assert_eq!(user_of_path("users/f:ldap:jo/role-mappings/realm"), Some("f:ldap:jo"));
        assert_eq!(user_of_path("users/"), None);
        assert_eq!(user_of_path("users"), None);
        assert_eq!(user_of_path("users/profile"), None);
        assert_eq!(user_of_path("clients/users/42"), None);
    }
}
