//! What each channel sends.

use serde_json::{Value, json};

use super::*;
use crate::labels::Labels;
use crate::notice::{Cause, Told};
use crate::rule::Severity;

fn notice(cause: Cause) -> Notice {
    let labels =
        Labels::from([("alertname", "BreakerOpen"), ("destination", "siem"), ("severity", "critical")]);
    let told = Told {
        name: "BreakerOpen".to_owned(),
        fingerprint: "0123456789abcdef".to_owned(),
        severity: Severity::Critical,
        labels: labels.clone(),
        summary: "nothing is sent to \"siem\" <now> & then".to_owned(),
        description: String::new(),
        runbook: Some("https://wiki/breaker".to_owned()),
        value: 1.0,
        since_ms: 1_700_000_000_000,
        ended_ms: (cause == Cause::Resolved).then_some(1_700_000_060_000),
        flapping: false,
    };
    Notice {
        subject: "f00d".to_owned(),
        cause,
        channel: "c".to_owned(),
        at_ms: 1_700_000_001_000,
        group: labels,
        alerts: vec![told],
    }
}

fn reveal(text: &str) -> Result<Secret, String> {
    match text.strip_prefix("${env:") {
        Some("MISSING}") => Err("`${env:MISSING}`: the variable is not set".to_owned()),
        Some(name) => Ok(Secret::new(format!("revealed-{}", name.trim_end_matches('}')))),
        None => Ok(Secret::new(text)),
    }
}

fn channel(toml: &str) -> Channel {
    toml::from_str(&format!("name = 'c'\n{toml}")).unwrap()
}

fn request(toml: &str, cause: Cause) -> Request {
    match channel(toml).parcel(&notice(cause), &reveal, 1_700_000_002_000).unwrap() {
        Parcel::Http(request) => request,
        other => panic!("{other:?}"),
    }
}

fn json(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.expose())
}

#[test]
fn a_webhook_sends_the_notice_and_proves_who_it_is() {
    let request = |auth: &str| {
        request(
            &format!("webhook = {{ url = 'http://h/x', hmac_secret = '${{env:KEY}}', {auth} }}"),
            Cause::Firing,
        )
    };
    let bearer = request("auth.bearer = '${env:TOKEN}'");
    assert_eq!(bearer.url.expose(), "http://h/x");
    assert_eq!(header(&bearer, "authorization"), Some("Bearer revealed-TOKEN"));
    assert_eq!(header(&bearer, TIMESTAMP), Some("1700000002000"));
    assert!(header(&bearer, SIGNATURE).unwrap().starts_with("sha256="));
    assert_eq!(json(&bearer)["alerts"][0]["name"], "BreakerOpen");
    let basic = request("auth.basic = { user = 'u', password = 'p' }");
    assert_eq!(header(&basic, "authorization"), Some("Basic dTpw"));
    let key = request("auth.api_key = { header = 'x-api-key', value = '${env:KEY}' }");
    assert_eq!(header(&key, "x-api-key"), Some("revealed-KEY"));
}

#[test]
fn a_template_says_what_a_gateway_wants_and_cannot_be_broken_out_of() {
    let webhook = r#"webhook = { url = "http://h", method = "PUT", template = '{"sms": "{{ severity }}: {{summary}} ({{label.destination}})"}' }"#;
    let request = request(webhook, Cause::Firing);
    assert_eq!(request.method, Method::Put);
    assert_eq!(json(&request), json!({ "sms": "critical: nothing is sent to \"siem\" <now> & then (siem)" }));
    let wrong =
        toml::from_str::<Channel>("name = 'c'\nwebhook = { url = 'http://h', template = '{{password}}' }");
    assert!(wrong.unwrap_err().to_string().contains("`{{password}}` is not known"));
}

#[test]
fn slack_and_teams_get_their_own_forms() {
    let slack = json(&request("slack.url = 'http://h'", Cause::Firing));
    assert!(slack["text"].as_str().unwrap().contains("&lt;now&gt; &amp; then"), "{slack}");
    assert_eq!(slack["attachments"][0]["color"], "danger");
    assert_eq!(json(&request("slack.url = 'http://h'", Cause::Resolved))["attachments"][0]["color"], "good");
    let teams = json(&request("teams.url = 'http://h'", Cause::Firing));
    assert_eq!(teams["attachments"][0]["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(teams["attachments"][0]["content"]["body"][0]["color"], "Attention");
}

#[test]
fn pagerduty_is_told_to_trigger_and_to_resolve_the_same_incident() {
    let of = |cause| json(&request("pagerduty.routing_key = '${env:PD}'", cause));
    let (begun, ended) = (of(Cause::Firing), of(Cause::Resolved));
    assert_eq!((&begun["event_action"], &ended["event_action"]), (&json!("trigger"), &json!("resolve")));
    assert_eq!(begun["dedup_key"], ended["dedup_key"]);
    assert_eq!(begun["routing_key"], "revealed-PD");
    assert_eq!(begun["payload"]["severity"], "critical");
    assert_eq!(begun["payload"]["timestamp"], "2023-11-14T22:13:20.000Z");
    assert_eq!(begun["links"][0]["href"], "https://wiki/breaker");
}

#[test]
fn an_alertmanager_is_told_until_when() {
    let of = |cause| request("alertmanager.url = 'http://am:9093/'", cause);
    let firing = of(Cause::Firing);
    assert_eq!(firing.url.expose(), "http://am:9093/api/v2/alerts");
    let alert = &json(&firing)[0];
    assert_eq!(alert["labels"]["alertname"], "BreakerOpen");
    assert_eq!(alert["startsAt"], "2023-11-14T22:13:20.000Z");
    assert_eq!(alert["endsAt"], "2023-11-15T03:13:22.000Z");
    assert_eq!(json(&of(Cause::Resolved))[0]["endsAt"], "2023-11-14T22:14:20.000Z");
}

#[test]
fn mail_and_kafka_get_text_and_record() {
    let mail =
        channel("email = { host = 'mx', from = 'a@b', to = ['c@d'], user = 'u', password = '${env:MAIL}' }");
    let Parcel::Mail { subject, text, password, .. } =
        mail.parcel(&notice(Cause::Firing), &reveal, 0).unwrap()
    else {
        panic!()
    };
    assert!(subject.starts_with("[firing, critical] BreakerOpen:"), "{subject}");
    assert!(text.contains("since 2023-11-14T22:13:20Z") && text.contains("https://wiki/breaker"), "{text}");
    assert_eq!(password.unwrap().expose(), "revealed-MAIL");
    let kafka = channel("kafka.topic = 'alerts'").parcel(&notice(Cause::Firing), &reveal, 0).unwrap();
    assert!(matches!(kafka, Parcel::Record { topic, key, .. } if topic == "alerts" && key == "f00d"));
}

#[test]
fn no_secret_is_shown_or_sent_by_a_channel_that_has_one() {
    let secret = "hunter2-secret";
    for toml in [
        format!("slack.url = 'http://h/{secret}'"),
        format!("webhook = {{ url = 'http://h', hmac_secret = '{secret}', auth.bearer = '{secret}' }}"),
        format!("email = {{ host = 'mx', from = 'a@b', to = ['c@d'], user = 'u', password = '{secret}' }}"),
        format!(
            "alertmanager = {{ url = 'http://h', auth.basic = {{ user = 'u', password = '{secret}' }} }}"
        ),
    ] {
        let channel = channel(&toml);
        assert!(!format!("{channel:?}").contains(secret), "{channel:?}");
        let parcel = channel.parcel(&notice(Cause::Firing), &reveal, 0).unwrap();
        assert!(!format!("{parcel:?}").contains(secret), "{parcel:?}");
        if let Parcel::Http(request) = &parcel {
            assert!(!String::from_utf8_lossy(&request.body).contains(secret), "{toml}");
        }
    }
    let error =
        channel("slack.url = '${env:MISSING}'").parcel(&notice(Cause::Firing), &reveal, 0).unwrap_err();
    assert_eq!(error.to_string(), "channel `c`: `${env:MISSING}`: the variable is not set");
}
