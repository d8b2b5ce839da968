//! Chat: Slack and Microsoft Teams.

use serde_json::{Value, json};

use crate::notice::Notice;
use crate::rule::Severity;

/// An incoming webhook's message: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
pub(super) fn slack(notice: &Notice) -> Value {
    let colour = match (notice.is_resolved(), notice.severity()) {
        (true, _) => "good",
        (_, Severity::Info | Severity::Warning) => "warning",
        _ => "danger",
    };
    json!({
        "text": escaped(&notice.title()),
        "attachments": [{ "color": colour, "text": escaped(&notice.text()) }],
    })
}

/// Slack reads these three characters as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An adaptive card (version 1.4) in the envelope that the workflow "Post to a channel when a webhook request is received" takes.
pub(super) fn teams(notice: &Notice) -> Value {
    let colour = match (notice.is_resolved(), notice.severity()) {
        (true, _) => "Good",
        (_, Severity::Info | Severity::Warning) => "Warning",
        _ => "Attention",
    };
    let block = |text: String, extra: Value| {
        let mut block = json!({ "type": "TextBlock", "text": text, "wrap": true });
        if let (Value::Object(block), Value::Object(extra)) = (&mut block, extra) {
            block.extend(extra);
        }
        block
    };
    let content = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            block(notice.title(), json!({ "weight": "Bolder", "color": colour })),
            block(notice.text(), json!({ "fontType": "Monospace" })),
        ],
    });
    json!({
        "type": "message",
        "attachments": [{ "contentType": "application/vnd.microsoft.card.adaptive", "content": content }],
    })
}
