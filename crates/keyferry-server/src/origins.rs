//! Under which names a listener is asked for.
//!
//! The invariant: **a name that only comes to stand for the listener's address (DNS rebinding) reaches nothing.** An address cannot be made to stand for another one, and so a listener that is
//! reached from elsewhere answers to any; a name must be one that was configured, but for `localhost`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, Uri, header};

use crate::problem::Problem;

/// Where a browser says that it is (RFC 6454): `https://keyferry.example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_encrypted: bool,
    /// The host, and the port where it is not that of the scheme.
    authority: String,
}

impl Origin {
    /// Whether what is sent there is encrypted on its way.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_encrypted { "https" } else { "http" }, self.authority)
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "origins such as `https://keyferry.example.org`: a scheme, a host and a port, and nothing behind it";
        let (scheme, authority) = text.split_once("://").ok_or(wrong)?;
        let is_encrypted = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong),
        };
        let uri: Uri = text.parse().map_err(|_| wrong)?;
        let is_all =
            uri.authority().is_some_and(|known| known.as_str() == authority) && !authority.contains('@');
        if !is_all {
            return Err(wrong);
        }
        let usual = if is_encrypted { ":443" } else { ":80" };
        let authority = authority.strip_suffix(usual).unwrap_or(authority).to_ascii_lowercase();
        Ok(Self { is_encrypted, authority })
    }
}

/// The origins of one listener.
#[derive(Clone, Debug)]
pub struct Origins {
    address: SocketAddr,
    is_encrypted: bool,
    configured: Vec<Origin>,
}

impl Origins {
    /// Of the listener at `address`, which speaks TLS or does not, and of which others know under names that are configured.
    pub fn new(address: SocketAddr, is_encrypted: bool, configured: Vec<Origin>) -> Self {
        Self { address, is_encrypted, configured }
    }

    /// The one that a request is for.
    pub(crate) fn of(&self, uri: &Uri, headers: &HeaderMap) -> Result<Origin, Problem> {
        let of_header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(|authority| authority.as_str()).or_else(of_header).unwrap_or_default();
        let host = host.to_ascii_lowercase();
        if let Some(known) = self.configured.iter().find(|origin| origin.authority == host) {
            return Ok(known.clone());
        }
        if self.is_own(&host) {
            return Ok(Origin { is_encrypted: self.is_encrypted, authority: host });
        }
        let port = self.address.port();
        Err(Problem::misdirected(format!(
            "the host {host:?} is not this listener; ask for localhost:{port} or 127.0.0.1:{port} (a tunnel must have the same port at both ends), or set `api.origins`"
        )))
    }

    fn is_own(&self, host: &str) -> bool {
        let (name, port) =
            host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).unwrap_or((host, ""));
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_own_port = port.parse() == Ok(self.address.port());
        match address.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => is_own_port,
            Ok(_) => !self.address.ip().is_loopback(),
            Err(_) => name == "localhost" && is_own_port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(origins: &Origins, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        origins.of(&Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn beyond_the_loopback_every_address_will_do_and_no_name_that_is_not_configured() {
        let configured = vec!["https://keyferry.example.org".parse().unwrap()];
        let origins = Origins::new("0.0.0.0:9470".parse().unwrap(), true, configured);
        for own in
            ["localhost:9470", "10.1.2.3:9470", "10.1.2.3", "[2001:db8::1]:9470", "keyferry.example.org"]
        {
            assert!(is_known(&origins, own), "{own}");
        }
        for other in [
            "evil.example",
            "evil.example:9470",
            "keyferry.example.org:9470",
            "localhost",
            "10.1.2.3.evil.example",
        ] {
            assert!(!is_known(&origins, other), "{other}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_an_authority_and_nothing_else() {
        let text = |text: &str| text.parse::<Origin>().map(|origin| origin.to_string());
        assert_eq!(text("https://Keyferry.example.org:443"), Ok("https://keyferry.example.org".to_owned()));
        assert_eq!(text("http://keyferry:9470"), Ok("http://keyferry:9470".to_owned()));
        for wrong in [
            "keyferry",
            "ftp://keyferry",
            "https://keyferry/",
            "https://u@keyferry",
            "https://",
            "https://a b",
        ] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }
}
