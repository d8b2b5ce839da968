//! What a failed login or handshake means, from the pieces that librdkafka tells of it.
//!
//! The invariant: **the reason that is told names the cause and the remedy, and is the same text as long as the cause is the same**, so that it is logged once
//! and not at each attempt. librdkafka tells some causes only in its log, some only as the number of an alert, and adds times and counters to all.

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::X509;

use keyferry_event::{Failure, FailureClass};
use rdkafka::types::RDKafkaErrorCode;

use crate::error::{advice, class_of_trouble};
use crate::raw_verify;
use crate::settings::ProducerSettings;

/// The facility of librdkafka's log lines about tokens.
const TOKENS: &str = "OIDC";

/// The facilities of log lines that arrive as errors as well.
const ALSO_ERRORS: [&str; 3] = ["FAIL", "ERROR", "FATAL"];

/// What librdkafka has told so far, and what is known of the client's own certificate.
pub(crate) struct Diagnosis {
    own: Option<OwnCertificate>,
    /// Why the broker's certificate was refused.
    verification: Option<String>,
    /// Why there is no token.
    token: Option<String>,
}

impl Diagnosis {
    /// Of a client with `settings`.
    pub(crate) fn new(settings: &ProducerSettings) -> Self {
        Self { own: OwnCertificate::of(settings), verification: None, token: None }
    }

    /// Takes in a line of librdkafka's log. Whether it is told as an error as well, and needs no line in ours.
    pub(crate) fn hear(&mut self, facility: &str, line: &str) -> bool {
        match facility {
            raw_verify::FACILITY => self.verification = refused_certificate(line),
            TOKENS => self.token = Some(without_thread(line).to_owned()),
            _ => return ALSO_ERRORS.contains(&facility),
        }
        true
    }

    /// What a client-wide error means.
    pub(crate) fn explain(&mut self, code: RDKafkaErrorCode, reason: &str) -> Failure {
        let reason = without_counters(reason);
        if code == RDKafkaErrorCode::Authentication && reason.contains("handshake failed: Local:") {
            // What failed is the connection: nobody has looked at the credentials.
            let place = place(reason);
            return Failure::transient(format!(
                "{place}the connection was lost while it logged in (if it lasts: does this port speak SASL?)"
            ));
        }
        if let Some(alert) = alert_of(reason) {
            return self.alerted(alert, reason);
        }
        let cause = match code {
            RDKafkaErrorCode::SSL if reason.contains("certificate verify failed") => {
                self.verification.as_ref()
            }
            _ if is_of_token(code, reason) => self.token.as_ref(),
            _ => None,
        };
        let reason = match cause {
            Some(cause) => format!("{}: {}{cause}", advice(code), place(reason)),
            None => format!("{}: {}", advice(code), without_times(reason)),
        };
        Failure { class: class_of_trouble(code), reason }
    }

    /// The broker has ended the connection because of what the client showed it.
    fn alerted(&self, alert: Alert, reason: &str) -> Failure {
        let place = place(reason);
        let reason = match alert {
            Alert::CertificateRequired => {
                format!("{place}the broker wants a certificate of the client (set ssl-keystore-location)")
            }
            Alert::Certificate(name) => {
                let own = self.own.as_ref().map_or_else(String::new, OwnCertificate::describe);
                format!("{place}the broker refuses the client's certificate ({name}){own}")
            }
        };
        Failure { class: FailureClass::Authentication, reason: format!("authentication failed: {reason}") }
    }
}

/// Whether this error is that there is no token.
pub(crate) fn is_of_token(code: RDKafkaErrorCode, reason: &str) -> bool {
    code == RDKafkaErrorCode::Authentication && reason.contains("OAUTHBEARER token")
}

/// What a TLS alert says of the client's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alert {
    CertificateRequired,
    /// It does not please, for this reason. Brokers say `certificate unknown` of most.
    Certificate(&'static str),
}

fn alert_of(reason: &str) -> Option<Alert> {
    let (_, number) = reason.split_once("SSL alert number ")?;
    let digits = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
    Some(match &number[..digits] {
        "42" => Alert::Certificate("bad certificate"),
        "43" => Alert::Certificate("unsupported certificate"),
        "44" => Alert::Certificate("certificate revoked"),
        "45" => Alert::Certificate("certificate expired"),
        "46" => Alert::Certificate("certificate unknown"),
        "48" => Alert::Certificate("unknown authority"),
        "116" => Alert::CertificateRequired,
        _ => return None,
    })
}

/// `[thrd:…]: …: Certificate (subject=…, issuer=…) verification callback failed: REASON` as `REASON (subject=…, issuer=…)`.
fn refused_certificate(line: &str) -> Option<String> {
    let (names, reason) =
        line.split_once("Certificate (")?.1.split_once(") verification callback failed: ")?;
    Some(format!("the broker's certificate is refused: {reason} ({names})"))
}

/// Without librdkafka's `[thrd:NAME]: ` before and the full stop behind.
fn without_thread(line: &str) -> &str {
    let text =
        line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(line, |(_, text)| text);
    text.trim()
}

/// Without ` (after 134ms in state AUTH_REQ, 3 identical error(s) suppressed)`.
fn without_counters(reason: &str) -> &str {
    reason.rsplit_once(" (after ").map_or(reason, |(reason, _)| reason)
}

/// Without `now=1795549002754ms, exp=1795549000000ms`, which is another one at each attempt.
fn without_times(reason: &str) -> &str {
    reason.split_once(": now=").map_or(reason, |(reason, _)| reason)
}

/// `ssl://broker:9092/1: ` if the reason begins so.
fn place(reason: &str) -> &str {
    match reason.split_once(": ") {
        Some((place, _)) if place.contains("://") && !place.contains(' ') => &reason[..place.len() + 2],
        _ => "",
    }
}

/// The certificate that the client shows.
struct OwnCertificate {
    certificate: X509,
}

impl OwnCertificate {
    fn of(settings: &ProducerSettings) -> Option<Self> {
        let pem = match settings.property("ssl.certificate.pem") {
            Some(pem) => pem.as_bytes().to_vec(),
            None => std::fs::read(settings.property("ssl.certificate.location")?).ok()?,
        };
        X509::from_pem(&pem).ok().map(|certificate| Self { certificate })
    }

    /// Whom it is for, and what is wrong with its time, if anything is.
    fn describe(&self) -> String {
        let subject: Vec<String> = self
            .certificate
            .subject_name()
            .entries()
            .filter_map(|entry| {
                let key = entry.object().nid().short_name().ok()?;
                Some(format!("{key}={}", entry.data().to_string().ok()?))
            })
            .collect();
        format!(": {}{}", subject.join(","), self.untimeliness())
    }

    fn untimeliness(&self) -> String {
        let Ok(now) = Asn1Time::days_from_now(0) else { return String::new() };
        let is_before = |one: &Asn1TimeRef, other: &Asn1TimeRef| one < other;
        if is_before(self.certificate.not_after(), &now) {
            format!(", which expired on {}", self.certificate.not_after())
        } else if is_before(&now, self.certificate.not_before()) {
            format!(", which is not valid before {}", self.certificate.not_before())
        } else {
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(properties: &[(&str, &str)]) -> Diagnosis {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Diagnosis::new(&ProducerSettings::new(properties))
    }

    const VERIFY: &str = "ssl://localhost:1/bootstrap: SSL handshake failed: ssl/statem/statem_clnt.c:2125:tls_post_process_server_certificate \
         error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is \
         correctly configured or root CA certificates are installed (install ca-certificates package) (after 17ms in state SSL_HANDSHAKE)";

    #[test]
    fn the_reason_for_a_refused_certificate_comes_from_the_log() {
        let mut diagnosis = diagnosis(&[]);
        let line = "[thrd:ssl://localhost:1/bootstrap]: ssl://localhost:1/bootstrap: Certificate (subject=/CN=broker, issuer=/CN=CA) verification \
                    callback failed: certificate has expired";
        assert!(diagnosis.hear("SSLCERTVRFY", line));
        let failure = diagnosis.explain(RDKafkaErrorCode::SSL, VERIFY);
        assert_eq!(failure.class, FailureClass::Authentication);
        assert!(
            failure.reason.ends_with(
                ": ssl://localhost:1/bootstrap: the broker's certificate is refused: certificate has expired (subject=/CN=broker, issuer=/CN=CA)"
            ),
            "{failure}"
        );
    }

    #[test]
    fn a_connection_that_is_lost_during_a_login_is_no_refusal() {
        let reason = "sasl_ssl://localhost:1/1: SASL OAUTHBEARER mechanism handshake failed: Local: Broker transport failure: \
                      broker's supported mechanisms: (n/a) (after 12ms in state AUTH_HANDSHAKE)";
        let failure = diagnosis(&[]).explain(RDKafkaErrorCode::Authentication, reason);
        assert_eq!(failure.class, FailureClass::Transient);
        assert!(failure.reason.starts_with("sasl_ssl://localhost:1/1: the connection was lost"), "{failure}");
        let refused = reason.replace("Local: Broker transport failure", "Broker: Unsupported SASL mechanism");
        let failure = diagnosis(&[]).explain(RDKafkaErrorCode::Authentication, &refused);
        assert_eq!(failure.class, FailureClass::Authentication);
    }

    #[test]
    fn the_reason_for_a_missing_token_names_the_endpoint() {
        let mut diagnosis = diagnosis(&[]);
        let line = "[thrd:background]: Failed to retrieve OIDC token from \"http://kc/token\": {\"error\":\"unauthorized_client\"} (401)";
        assert!(diagnosis.hear("OIDC", line));
        let reason = "Failed to acquire SASL OAUTHBEARER token: {\"error\":\"unauthorized_client\"}";
        let failure = diagnosis.explain(RDKafkaErrorCode::Authentication, reason);
        assert_eq!(failure.class, FailureClass::Authentication);
        assert!(
            failure.reason.contains("from \"http://kc/token\"") && failure.reason.ends_with("(401)"),
            "{failure}"
        );
    }

    #[test]
    fn one_cause_is_one_text_however_often_it_is_told() {
        let mut diagnosis = diagnosis(&[]);
        let mut told = |code, reason: &str| diagnosis.explain(code, reason).reason;
        for (code, first, second) in [
            (
                RDKafkaErrorCode::Authentication,
                "sasl_ssl://k:1/1: SASL authentication error: wrong (after 129ms in state AUTH_REQ)",
                "sasl_ssl://k:1/1: SASL authentication error: wrong (after 2ms in state AUTH_REQ, 27 identical error(s) suppressed)",
            ),
            (
                RDKafkaErrorCode::Authentication,
                "Failed to acquire SASL OAUTHBEARER token: Must supply an unexpired token: now=1795549002754ms, exp=1795549000000ms",
                "Failed to acquire SASL OAUTHBEARER token: Must supply an unexpired token: now=1795549012760ms, exp=1795549000000ms",
            ),
        ] {
            assert_eq!(told(code, first), told(code, second));
        }
    }

    #[test]
    fn an_alert_about_the_clients_certificate_is_a_failed_login_and_no_bad_network() {
        let alert = |number: u8| {
            format!(
                "ssl://k:1/1: Receive failed: ssl/record/rec_layer_s3.c:918:ssl3_read_bytes error:0A000416:SSL routines::x: SSL alert number {number}"
            )
        };
        let pem = include_str!("../../tests/stores/authority.pem");
        let mut with_certificate = diagnosis(&[("ssl.certificate.pem", pem)]);
        let failure = with_certificate.explain(RDKafkaErrorCode::BrokerTransportFailure, &alert(46));
        assert_eq!(failure.class, FailureClass::Authentication);
        assert_eq!(
            failure.reason,
            "authentication failed: ssl://k:1/1: the broker refuses the client's certificate (certificate unknown): CN=Authority"
        );
        let failure = diagnosis(&[]).explain(RDKafkaErrorCode::BrokerTransportFailure, &alert(116));
        assert!(failure.reason.contains("the broker wants a certificate of the client"), "{failure}");
        let failure = diagnosis(&[]).explain(RDKafkaErrorCode::BrokerTransportFailure, &alert(80));
        assert_eq!(failure.class, FailureClass::Transient);
    }

    #[test]
    fn what_is_told_as_an_error_too_needs_no_line_of_its_own() {
        let mut diagnosis = diagnosis(&[]);
        assert!(diagnosis.hear("FAIL", "x") && diagnosis.hear("FATAL", "x"));
        assert!(!diagnosis.hear("GETPID", "x"));
    }
}
