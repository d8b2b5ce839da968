//! What the pipeline tells of itself.

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
    /// Records acknowledged.
    pub published: u64,
    /// Events that no topic wanted.
    pub filtered: u64,
    /// Events of transactions in doubt that were published as such.
    pub in_doubt: u64,
    /// Events of transactions in doubt that were dropped, as configured.
    pub in_doubt_dropped: u64,
    /// Records laid aside because they can never be delivered.
    pub dead_letters: u64,
    /// Ranges of the journal that could not be read.
    pub damaged_ranges: u64,
    /// Events that the provider could not journal.
    pub missing_events: u64,
    /// Records that were sent again after a failure.
    pub resets: u64,
    /// When a record was last acknowledged, milliseconds since the Unix epoch.
    pub last_delivery_ms: Option<u64>,
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
