//! Where secrets come from: the environment, files that references name, and key and trust stores.

use keyferry_config::{OpenedStore, Secret, Sources, StoreIdentity, StorePasswords};
use keyferry_kafka::security::store::{Passwords, Store};

/// The sources that every command has: the environment, and stores that can be opened.
pub fn sources() -> Sources {
    Sources::new().with_process_environment().with_stores(open_store)
}

fn open_store(bytes: &[u8], passwords: StorePasswords<'_>) -> Result<OpenedStore, String> {
    let passwords =
        Passwords { store: passwords.store.map(Secret::expose), key: passwords.key.map(Secret::expose) };
    let store = Store::open(bytes, passwords).map_err(|error| error.to_string())?;
    let identity = store.identity.map(|identity| StoreIdentity {
        certificates: identity.certificates,
        key: Secret::new(identity.key),
    });
    Ok(OpenedStore { authorities: store.authorities, identity })
}
