//! What the topic for all nodes says, and what is to be written to it, for any thread.
//!
//! The invariants:
//!
//! - **Nothing is decided on and nothing is reported before the topic was read to its end**: who knows only a part of it would take back what the rest says.
//! - **Whoever waits for an announcement hears of it**, written or not.

use std::collections::{BTreeMap, VecDeque};

use keyferry_config::change::{
    Announcement, Changes, Decision, Due, Heard, History, Plan, Refusal, Report, SharedValues,
};

use super::desk::{Configuring, Desk, Done};
use crate::shipment::wall_ms;

/// A node says so often what it runs, even if nothing has changed: one that is gone shows by its silence. In milliseconds.
const LIVELINESS_MS: u64 = 3_600_000;

/// What is known of all nodes.
#[derive(Debug)]
pub struct Board {
    /// The topic.
    pub topic: String,
    /// What this node is called.
    pub node: String,
    /// What all nodes are to have.
    pub values: SharedValues,
    /// What each node has reported.
    pub reports: BTreeMap<String, Report>,
    /// Why the topic cannot be read or written now, if it cannot.
    pub trouble: Option<String>,
    is_read: bool,
    /// What this node has reported last.
    told: Option<Report>,
    asked: VecDeque<Asked>,
    /// Who waits for what is being written.
    under_way: Option<u64>,
}

/// A change that is to be announced.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Stands for the wish.
    pub ticket: u64,
    /// Who wants it.
    pub author: String,
    /// The values, by key.
    pub values: BTreeMap<String, Option<String>>,
    /// What it changes here.
    pub plan: Plan,
}

/// How a wish ended, and the ticket that stands for it.
type Ended = (u64, Result<Done, Refusal>);

/// A record that is to be written.
#[derive(Debug)]
pub enum Letter {
    /// What all nodes are to have: because somebody wants it, or because the newest record does not say everything.
    Announcement(Announcement, Option<Asked>),
    /// What this node runs.
    Report(Report),
}

impl Board {
    pub(super) fn new(topic: String, node: String) -> Self {
        Self {
            topic,
            node,
            values: SharedValues::default(),
            reports: BTreeMap::new(),
            trouble: None,
            is_read: false,
            told: None,
            asked: VecDeque::new(),
            under_way: None,
        }
    }

    /// Whether the topic was read to its end.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// Whether the announcement that `ticket` stands for is still to be written.
    pub fn is_pending(&self, ticket: u64) -> bool {
        self.under_way == Some(ticket) || self.asked.iter().any(|asked| asked.ticket == ticket)
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Announcement(announcement) => self.values.take(announcement),
            Heard::Report(report) => drop(self.reports.insert(report.node.clone(), report)),
            Heard::Forgotten(node) => drop(self.reports.remove(&node)),
        }
    }

    /// What is to be written now. `changes` is what runs here.
    fn next(&mut self, changes: &mut Changes, now_ms: u64) -> Option<Letter> {
        if let Some(asked) = self.asked.pop_front() {
            self.under_way = Some(asked.ticket);
            let announcement = self.values.announce(&asked.values, &asked.author, &self.node, now_ms);
            return Some(Letter::Announcement(announcement, Some(asked)));
        }
        if let Some(whole) = self.values.to_mend(&self.node) {
            return Some(Letter::Announcement(whole, None));
        }
        let report = self.report(changes, now_ms)?;
        let is_news = self.told.as_ref().is_none_or(|told| {
            told.differs_from(&report) || now_ms.saturating_sub(told.time_ms) >= LIVELINESS_MS
        });
        is_news.then_some(Letter::Report(report))
    }

    /// What became of a record: who waits for it, and what is to be told.
    fn has_written(&mut self, letter: Letter, result: Result<(), String>) -> Option<Ended> {
        match (letter, result) {
            (Letter::Report(report), Ok(())) => {
                self.told = Some(report);
                None
            }
            (Letter::Announcement(announcement, asked), Ok(())) => {
                let change = announcement.id.clone();
                self.values.take(announcement);
                self.under_way = None;
                asked.map(|Asked { ticket, plan, .. }| (ticket, Ok(Done::Announced { plan, change })))
            }
            (Letter::Announcement(_, asked), Err(reason)) => {
                self.under_way = None;
                asked.map(|asked| asked.given_up(reason))
            }
            (Letter::Report(_), Err(_)) => None,
        }
    }

    /// What this node runs; `None` while it has something to decide on.
    fn report(&self, changes: &mut Changes, time_ms: u64) -> Option<Report> {
        if changes.due(&self.values).is_some() {
            return None;
        }
        let running = changes.running();
        Some(Report {
            node: self.node.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            time_ms,
            version: running.number,
            hash: running.hash.clone(),
            shared: self.values.hash(),
            decision: changes.history().decided.last.clone(),
            differs: self.values.differing(&running.document.live),
        })
    }
}

/// What is written for all nodes, as those see it who wait for it.
impl Configuring {
    fn with_board<T>(&self, of: impl FnOnce(&mut Board, &mut Changes) -> T) -> Option<T> {
        self.with_desk(|Desk { board, changes, .. }| board.as_mut().map(|board| of(board, changes))).flatten()
    }

    /// The next change for all nodes that is to be decided on here.
    pub(super) fn due(&self) -> Option<Due> {
        self.with_board(|board, changes| board.is_read.then(|| changes.due(&board.values)).flatten())
            .flatten()
    }

    /// A change for all nodes was decided on; answers with what is to be written down.
    pub(super) fn decides(&self, decision: Decision) -> History {
        let decided = self.with_desk(|desk| {
            desk.changes.decide(decision);
            desk.changes.history().clone()
        });
        decided.unwrap_or_default()
    }

    /// Leaves a change to be announced to all nodes.
    ///
    /// # Errors
    /// [`Refusal::NoTopic`].
    pub(super) fn announces(&self, asked: Asked) -> Result<(), Refusal> {
        self.with_board(|board, _| board.asked.push_back(asked)).ok_or(Refusal::NoTopic)
    }

    /// The topic says this.
    pub(super) fn hears(&self, heard: Heard) {
        self.with_board(|board, _| board.hear(heard));
    }

    /// The topic was read to its end: from now on it can be decided on what it says.
    pub(super) fn has_read_all(&self) {
        let is_due = self.with_board(|board, changes| {
            (board.is_read, board.trouble) = (true, None);
            changes.due(&board.values).is_some()
        });
        if is_due == Some(true) {
            self.ring();
        }
    }

    /// The next record to write, if there is one.
    pub(super) fn next_letter(&self) -> Option<Letter> {
        self.with_board(|board, changes| board.next(changes, wall_ms())).flatten()
    }

    /// What became of a record that was to be written.
    pub(super) fn has_written(&self, letter: Letter, result: Result<(), String>) {
        self.with_desk(|desk| {
            let ended = desk.board.as_mut().and_then(|board| board.has_written(letter, result));
            if let Some((ticket, result)) = ended {
                desk.ended(ticket, result);
            }
        });
        self.ring();
    }

    /// The topic cannot be reached: who waits for an announcement waits in vain.
    pub(super) fn cannot_reach_all(&self, reason: &str) {
        self.with_desk(|desk| {
            let Some(board) = &mut desk.board else { return };
            board.trouble = Some(reason.to_owned());
            for asked in std::mem::take(&mut board.asked) {
                let (ticket, result) = asked.given_up(reason.to_owned());
                desk.ended(ticket, result);
            }
        });
    }
}

impl Asked {
    fn given_up(self, reason: String) -> Ended {
        (self.ticket, Err(Refusal::Unannounced { keys: self.values.into_keys().collect(), reason }))
    }
}

#[cfg(test)]
mod tests {
    use keyferry_config::Sources;
    use keyferry_config::change::{FileText, Health, Next, Outcome, Proposal, Wish};

    use super::*;

    const LEVEL: &str = "log.level";

    fn changes() -> Changes {
        let text = "[destination]\nbootstrap_servers = \"k:1\"\ntopic_events = \"e\"\n".to_owned();
        let file = FileText { path: "keyferry.toml".into(), text };
        Changes::begin(Sources::new(), History::default(), Ok(Some(file)), 0).unwrap().changes
    }

    /// An agent that has read its topic.
    fn configuring(node: &str) -> Configuring {
        let configuring = Configuring::default();
        configuring.begin(changes(), None, None, Some(Board::new("config".to_owned(), node.to_owned())));
        configuring.has_read_all();
        configuring
    }

    fn ask(configuring: &Configuring, ticket: u64, level: &str) {
        let values = BTreeMap::from([(LEVEL.to_owned(), Some(level.to_owned()))]);
        let asked = Asked { ticket, author: "ada".to_owned(), values, plan: Plan::default() };
        configuring.announces(asked).unwrap();
    }

    fn report(configuring: &Configuring) -> Report {
        match configuring.next_letter() {
            Some(Letter::Report(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Decides on everything that is due as the thread does that changes the configuration.
    fn decide(configuring: &Configuring) {
        while let Some(Due { change, author, values }) = configuring.due() {
            let wish = Wish::Shared { change, values };
            let proposal = Proposal { author, wish, expected: None, dry_run: false };
            let Ok(Next::Try(trial)) = configuring.propose(&proposal) else { panic!("{proposal:?}") };
            configuring.settle(*trial, Ok(()), &Health::default()).unwrap();
        }
    }

    #[test]
    fn what_is_announced_is_decided_on_here_and_reported_once() {
        let configuring = configuring("a");
        let first = report(&configuring);
        configuring.has_written(Letter::Report(first), Ok(()));
        assert!(configuring.next_letter().is_none(), "it was told");
        ask(&configuring, 1, "debug");
        let letter = configuring.next_letter().unwrap();
        assert!(configuring.with_board(|board, _| board.is_pending(1)).unwrap());
        configuring.has_written(letter, Ok(()));
        assert!(!configuring.with_board(|board, _| board.is_pending(1)).unwrap());
        assert!(configuring.next_letter().is_none(), "nothing is reported before it is decided on");
        decide(&configuring);
        let now = report(&configuring);
        assert_eq!(
            (now.version, now.decision.unwrap().outcome, now.differs),
            (2, Outcome::Applied, Vec::new())
        );
    }

    #[test]
    fn nothing_is_decided_on_before_the_topic_was_read() {
        let announcer = configuring("a");
        ask(&announcer, 1, "debug");
        let Some(Letter::Announcement(announcement, _)) = announcer.next_letter() else { panic!("none") };
        let other = Configuring::default();
        other.begin(changes(), None, None, Some(Board::new("config".to_owned(), "b".to_owned())));
        other.hears(Heard::Announcement(announcement));
        assert_eq!(other.due(), None);
        other.has_read_all();
        assert!(other.due().is_some());
    }

    #[test]
    fn who_waits_for_an_announcement_hears_of_it_even_if_it_cannot_be_written() {
        let configuring = configuring("a");
        ask(&configuring, 1, "debug");
        ask(&configuring, 2, "warn");
        let letter = configuring.next_letter().unwrap();
        configuring.has_written(letter, Err("nobody answers".to_owned()));
        configuring.cannot_reach_all("nobody answers");
        for ticket in [1, 2] {
            let told = configuring.ended_as(ticket, |_, result| result.as_ref().unwrap_err().to_string());
            let super::super::desk::Fate::Ended(told) = told else { panic!("{ticket} is not told") };
            assert!(told.contains(LEVEL) && told.contains("nobody answers"), "{told}");
        }
        assert_eq!(configuring.due(), None, "what could not be announced is not done here alone");
    }

    #[test]
    fn a_node_that_has_nothing_new_to_say_says_so_from_time_to_time() {
        let configuring = configuring("a");
        let mut old = report(&configuring);
        old.time_ms = wall_ms() - LIVELINESS_MS;
        configuring.has_written(Letter::Report(old), Ok(()));
        report(&configuring);
    }

    #[test]
    fn without_a_topic_nobody_can_be_told() {
        let alone = Configuring::default();
        alone.begin(changes(), None, None, None);
        let asked =
            Asked { ticket: 1, author: "ada".to_owned(), values: BTreeMap::new(), plan: Plan::default() };
        assert!(alone.announces(asked).unwrap_err().to_string().contains("config.topic"));
    }
}
