//! What the pipeline tells of itself.

use crate::backpressure::BackpressureReport;
use crate::breaker::BreakerReport;

/// Counts since the agent started, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the pipeline is doing.
    pub state: State,
    /// What an operator should know, in one sentence.
    pub reason: Option<String>,
    /// Journal bytes that are not settled.
    pub backlog_bytes: u64,
    /// When the journal got the oldest event that was sent and is not settled, milliseconds since the Unix epoch.
    pub oldest_unacknowledged_ms: Option<u64>,
    /// Events acknowledged.
    pub published: u64,
    /// Gap records acknowledged: one for each topic that they go to.
    pub gap_records: u64,
    /// Events that no topic wanted.
    pub filtered: u64,
    /// Events of transactions in doubt that were published as such.
    pub in_doubt: u64,
    /// Events of transactions in doubt that were dropped, as configured.
    pub in_doubt_dropped: u64,
    /// Events in doubt that wait for an operator now, those of earlier runs included.
    pub held: u64,
    /// User events that were given up at the journal's ceiling because they were the oldest.
    pub dropped_old_user_events: u64,
    /// Admin events that were given up at the journal's ceiling because they were the oldest.
    pub dropped_old_admin_events: u64,
    /// Records that can never be delivered and lie in the dead-letter topic or file.
    pub dead_letters: u64,
    /// Those of them that lie in the topic.
    pub dead_letters_in_topic: u64,
    /// Events of low priority that were passed over under pressure. Those that are sent after all, because the agent has begun anew, are counted as well.
    pub passed_over: u64,
    /// Ranges of the journal that could not be read.
    pub damaged_ranges: u64,
    /// Events that the provider could not journal.
    pub missing_events: u64,
    /// Records that were sent again after a failure.
    pub resets: u64,
    /// When a record was last acknowledged, milliseconds since the Unix epoch.
    pub last_delivery_ms: Option<u64>,
    /// Records sent and not settled.
    pub in_flight_records: usize,
    /// What they cost of the credit, in bytes.
    pub in_flight_bytes: usize,
    /// Whether anything may be sent, and why not.
    pub breaker: BreakerReport,
    /// How far the destination lags behind Keycloak.
    pub backpressure: BackpressureReport,
}

/// What the pipeline is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Everything in the journal is settled.
    #[default]
    Idle,
    /// Records are on their way.
    Delivering,
    /// The destination takes nothing: the journal keeps the events.
    Blocked,
}
