//! Where things are in the source tree.

use std::env;
use std::path::{Path, PathBuf};

/// The version of Keyferry, which is the workspace's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The root of the source tree.
pub fn root() -> &'static Path {
    // The package lies directly under the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The Java half: the Keycloak extension.
pub fn provider() -> PathBuf {
    root().join("provider")
}

/// Where `cargo xtask dist` leaves what can be published.
pub fn dist() -> PathBuf {
    root().join("dist")
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}
