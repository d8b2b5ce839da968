//! The [Elastic Common Schema](https://www.elastic.co/docs/reference/ecs) as Keyferry writes it (`destination.format = "ecs"`), taken back into Keycloak's events.

use serde_json::{Map, Value};

use crate::Message;
use crate::decode::{DecodeError, no_value};
use crate::gathering::{Gathering, gap_record};
use crate::headers::Headers;

/// Whether a record with these members is one.
pub(crate) fn is_it(members: &Map<String, Value>) -> bool {
    members.contains_key("ecs") && members.contains_key("@timestamp")
}

/// Reads a record.
///
/// # Errors
/// It tells of no event of Keycloak.
pub(crate) fn read(headers: &Headers<'_>, members: Map<String, Value>) -> Result<Message, DecodeError> {
    let record = Value::Object(members);
    if let Some(Value::Object(gap)) = record.pointer("/keyferry/gap") {
        return gap_record(headers, gap, record.pointer("/event/id"), record.pointer("/event/sequence"));
    }
    if record.pointer("/event/original").is_some() {
        return Err(no_value(
            "event of Keycloak",
            "it was no JSON when it was written: see its `event.original`",
        ));
    }
    let time = record["@timestamp"].as_str().and_then(milliseconds);
    let time = time.ok_or_else(|| {
        no_value("event of Keycloak", "its `@timestamp` is no time in UTC with milliseconds")
    })?;
    let is_admin = record.pointer("/event/dataset").is_some_and(|name| name == "keycloak.admin");
    let mut event = Gathering::begin(&record, "/keycloak", is_admin);
    event.attribute("ce_node", "/service/node/name");
    event.attribute("ce_epoch", "/keyferry/epoch");
    event.attribute("ce_outcome", "/keyferry/outcome");
    event.attribute("ce_sequence", "/event/sequence");
    event.id("/event/id");
    event.put("time", time.into());
    event.field(if is_admin { "operationType" } else { "type" }, &["/event/action"]);
    event.field("realmId", &["/organization/id"]);
    event.field("realmName", &["/organization/name"]);
    event.field("error", &["/error/code"]);
    event.of_actor("ipAddress", &["/source/ip"]);
    event.of_actor("userId", &["/user/id"]);
    event.message(headers, "/keyferry")
}

/// The milliseconds since the Unix epoch of a time like `2026-11-28T20:40:37.637Z`, which is how Keyferry writes them; `None` of what is none.
///
/// The days are counted as in `days_from_civil` (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013): in years that begin with March.
fn milliseconds(time: &str) -> Option<i64> {
    let form = time.len() == 24 && time.is_ascii();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if !form || marks.iter().any(|(at, mark)| time.as_bytes()[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = &time[from..to];
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_legal =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !is_legal {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_are_milliseconds_since_the_epoch() {
        for (time, expected) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
            ("2026-11-28T20:40:37.637Z", 1_795_898_437_637),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(milliseconds(time), Some(expected), "{time}");
        }
        for none in [
            "",
            "yesterday",
            "2026-11-28T20:40:37Z",
            "2026-13-28T20:40:37.637Z",
            "2026-11-28T20:40:37.637+",
            "2026-11-2xT20:40:37.637Z",
            "２０２６-11-28T20",
        ] {
            assert_eq!(milliseconds(none), None, "{none}");
        }
    }
}
