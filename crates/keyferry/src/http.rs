//! The HTTP client of whatever the agent tells to others.

use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// One whose requests take `limit` at most. It goes nowhere but where it was sent, and takes every answer as one.
pub fn client(limit: Duration) -> ureq::Agent {
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier);
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(tls.build());
    config.build().new_agent()
}
