//! What an event means, whatever a format calls it.
//!
//! Keycloak has some 70 types of user events and 40 types of resources; security formats have a few classes of activities. Both formats read the one table that stands here. A type that is not in it, of a later Keycloak perhaps,
//! is an act of authentication of which no more is known.

use keyferry_journal::event::{EventKind, EventView};

use crate::key::user_of_path;

/// What an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A session begins.
    Logon,
    /// A session ends.
    Logoff,
    /// An administrator acts as a user from now on.
    Impersonation,
    /// Some other part of authentication: a token is issued, renewed or looked at.
    Authentication,
    /// There is a new user.
    AccountCreated,
    /// A user is gone.
    AccountDeleted,
    /// A user was locked out.
    AccountLocked,
    /// Something else of a user has changed.
    AccountChanged,
    /// A user has chosen another password.
    PasswordChanged,
    /// A password was set anew because it was forgotten, or by an administrator.
    PasswordReset,
    /// A user has a further factor of authentication.
    FactorAdded,
    /// A user has one factor less.
    FactorRemoved,
    /// A client may do something in the name of a user.
    ConsentGiven,
    /// It may no longer.
    ConsentRevoked,
    /// A user has further roles.
    PrivilegesAssigned,
    /// A user has roles less.
    PrivilegesRevoked,
    /// There is a new group.
    GroupCreated,
    /// A group is gone.
    GroupDeleted,
    /// Something else of a group has changed.
    GroupChanged,
    /// A user has joined a group.
    MemberAdded,
    /// A user has left a group.
    MemberRemoved,
    /// The members of a group have further roles.
    GroupPrivilegesAssigned,
    /// The members of a group have roles less.
    GroupPrivilegesRevoked,
    /// There is something new in the realm.
    EntityCreated,
    /// Something in the realm was looked at.
    EntityRead,
    /// Something in the realm has changed.
    EntityUpdated,
    /// Something in the realm is gone.
    EntityDeleted,
    /// A node of a client's cluster has registered.
    EntityEnrolled,
    /// It has taken leave.
    EntityUnenrolled,
    /// Something was done with something in the realm.
    EntityActedOn,
}

impl Meaning {
    /// What `event` means. `credential` is the content of the detail `credential_type`.
    pub(super) fn of(event: &EventView<'_>, credential: Option<&[u8]>) -> Self {
        let of_event = event.event_type().unwrap_or_default();
        match event.kind() {
            EventKind::User => of_user_event(of_event.strip_suffix("_ERROR").unwrap_or(of_event), credential),
            EventKind::Admin => of_admin_event(
                of_event,
                event.resource_type().unwrap_or_default(),
                event.resource_path().unwrap_or_default(),
            ),
        }
    }

    /// Whether `event` tells of something that was refused or has failed.
    pub(super) fn is_failure(event: &EventView<'_>) -> bool {
        let is_error = |of_event: &str| event.kind() == EventKind::User && of_event.ends_with("_ERROR");
        event.error().is_some() || event.event_type().is_some_and(is_error)
    }
}

fn of_user_event(of_event: &str, credential: Option<&[u8]>) -> Meaning {
    match of_event {
        "LOGIN" | "CLIENT_LOGIN" | "IDENTITY_PROVIDER_LOGIN" => Meaning::Logon,
        "LOGOUT" | "USER_SESSION_DELETED" => Meaning::Logoff,
        "IMPERSONATE" => Meaning::Impersonation,
        "REGISTER" => Meaning::AccountCreated,
        "DELETE_ACCOUNT" => Meaning::AccountDeleted,
        "USER_DISABLED_BY_PERMANENT_LOCKOUT" | "USER_DISABLED_BY_TEMPORARY_LOCKOUT" => Meaning::AccountLocked,
        "UPDATE_PASSWORD" => Meaning::PasswordChanged,
        "RESET_PASSWORD" | "SEND_RESET_PASSWORD" => Meaning::PasswordReset,
        "UPDATE_CREDENTIAL" => match credential {
            Some(b"password") => Meaning::PasswordChanged,
            Some(_) => Meaning::FactorAdded,
            None => Meaning::AccountChanged,
        },
        "REMOVE_CREDENTIAL" => match credential {
            Some(b"password") | None => Meaning::AccountChanged,
            Some(_) => Meaning::FactorRemoved,
        },
        "UPDATE_TOTP" => Meaning::FactorAdded,
        "REMOVE_TOTP" => Meaning::FactorRemoved,
        "UPDATE_PROFILE"
        | "VERIFY_PROFILE"
        | "UPDATE_EMAIL"
        | "VERIFY_EMAIL"
        | "SEND_VERIFY_EMAIL"
        | "FEDERATED_IDENTITY_LINK"
        | "REMOVE_FEDERATED_IDENTITY"
        | "FEDERATED_IDENTITY_OVERRIDE_LINK"
        | "SEND_IDENTITY_PROVIDER_LINK"
        | "IDENTITY_PROVIDER_LINK_ACCOUNT"
        | "CLIENT_INITIATED_ACCOUNT_LINKING"
        | "CUSTOM_REQUIRED_ACTION"
        | "EXECUTE_ACTIONS"
        | "EXECUTE_ACTION_TOKEN"
        | "INVITE_ORG" => Meaning::AccountChanged,
        "GRANT_CONSENT" | "UPDATE_CONSENT" | "PERMISSION_TOKEN" => Meaning::ConsentGiven,
        "REVOKE_GRANT" => Meaning::ConsentRevoked,
        "CLIENT_REGISTER" => Meaning::EntityCreated,
        "CLIENT_INFO" => Meaning::EntityRead,
        "CLIENT_UPDATE" => Meaning::EntityUpdated,
        "CLIENT_DELETE" => Meaning::EntityDeleted,
        "REGISTER_NODE" => Meaning::EntityEnrolled,
        "UNREGISTER_NODE" => Meaning::EntityUnenrolled,
        _ => Meaning::Authentication,
    }
}

fn of_admin_event(operation: &str, resource: &str, path: &str) -> Meaning {
    match resource {
        "USER" if user_of_path(path).is_some() => match operation {
            "CREATE" => Meaning::AccountCreated,
            "DELETE" if path.split('/').count() == 2 => Meaning::AccountDeleted,
            "ACTION" if path.ends_with("/reset-password") => Meaning::PasswordReset,
            _ => Meaning::AccountChanged,
        },
        "REALM_ROLE_MAPPING" | "CLIENT_ROLE_MAPPING" => match (user_of_path(path), operation) {
            (Some(_), "CREATE") => Meaning::PrivilegesAssigned,
            (Some(_), "DELETE") => Meaning::PrivilegesRevoked,
            (Some(_), _) => Meaning::AccountChanged,
            (None, "CREATE") => Meaning::GroupPrivilegesAssigned,
            (None, "DELETE") => Meaning::GroupPrivilegesRevoked,
            (None, _) => Meaning::GroupChanged,
        },
        "GROUP" => match operation {
            "CREATE" => Meaning::GroupCreated,
            "DELETE" => Meaning::GroupDeleted,
            _ => Meaning::GroupChanged,
        },
        "GROUP_MEMBERSHIP" => match operation {
            "CREATE" => Meaning::MemberAdded,
            "DELETE" => Meaning::MemberRemoved,
            _ => Meaning::GroupChanged,
        },
        _ => match operation {
            "CREATE" => Meaning::EntityCreated,
            "UPDATE" => Meaning::EntityUpdated,
            "DELETE" => Meaning::EntityDeleted,
            _ => Meaning::EntityActedOn,
        },
    }
}

/// The user whom the content of a resource path names.
///
/// A path with escapes is left alone: it has no parts that could be told apart without decoding it.
pub(super) fn user_in(path: &[u8]) -> Option<&[u8]> {
    plain(path).and_then(user_of_path).map(str::as_bytes)
}

/// The group whom the content of a resource path names: `groups/{id}/…`, or `users/{id}/groups/{id}`.
pub(super) fn group_in(path: &[u8]) -> Option<&[u8]> {
    let (_, rest) = plain(path)?.split_once("groups/")?;
    let id = rest.split('/').next()?;
    (!id.is_empty()).then_some(id.as_bytes())
}

fn plain(path: &[u8]) -> Option<&str> {
    std::str::from_utf8(path).ok().filter(|path| !path.contains('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_users_and_groups() {
        assert_eq!(user_in(b"users/u-1/role-mappings/realm"), Some(&b"u-1"[..]));
        assert_eq!(group_in(b"users/u-1/groups/g-1"), Some(&b"g-1"[..]));
        assert_eq!(group_in(b"groups/g-1/role-mappings/realm"), Some(&b"g-1"[..]));
        assert_eq!((user_in(br"users/a\u0041"), group_in(br"groups/\/x")), (None, None));
        assert_eq!((user_in(b"roles/x"), group_in(b"groups/")), (None, None));
    }

    #[test]
    fn errors_mean_what_would_have_been() {
        assert_eq!(of_user_event("LOGIN", None), Meaning::Logon);
        assert_eq!(of_user_event("UPDATE_CREDENTIAL", Some(b"otp")), Meaning::FactorAdded);
        assert_eq!(of_user_event("A_TYPE_OF_NEXT_YEAR", None), Meaning::Authentication);
        assert_eq!(of_admin_event("DELETE", "USER", "users/u-1"), Meaning::AccountDeleted);
        assert_eq!(
            of_admin_event("DELETE", "USER", "users/u-1/federated-identity/x"),
            Meaning::AccountChanged
        );
        assert_eq!(of_admin_event("UPDATE", "USER_PROFILE", "users/profile"), Meaning::EntityUpdated);
    }
}
