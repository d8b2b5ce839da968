//! What clients did and were told, and when.

use std::collections::BTreeMap;

use crate::trace::{Entry, Trace};

/// Events that a client handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Index of the entry in the trace.
    pub at: usize,
    /// The ids of the events.
    pub events: Vec<String>,
    /// When the client was told that they are taken.
    pub prepared: Option<usize>,
}

/// A transaction as its client knows it. All places are indexes of entries in the trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// What was handed over, in order.
    pub offers: Vec<Offer>,
    /// When the database had committed.
    pub commit: Option<usize>,
    /// When the writer had been told so.
    pub committed: Option<usize>,
    /// When the database had rolled back.
    pub abort: Option<usize>,
    /// When the writer had been told so.
    pub aborted: Option<usize>,
}

impl Client {
    /// The events that the client had been told are taken, before entry `point`.
    pub fn promised(&self, point: usize) -> impl Iterator<Item = &str> {
        let taken = self.offers.iter().filter(move |offer| happened(offer.prepared, point));
        taken.flat_map(|offer| offer.events.iter().map(String::as_str))
    }

    /// The events that had been handed over before entry `point`, each as often as it was tried.
    pub fn offered(&self, point: usize) -> impl Iterator<Item = &str> {
        let offered = self.offers.iter().filter(move |offer| offer.at < point);
        offered.flat_map(|offer| offer.events.iter().map(String::as_str))
    }
}

/// Whether it had happened before entry `point`.
#[must_use]
pub fn happened(at: Option<usize>, point: usize) -> bool {
    at.is_some_and(|at| at < point)
}

/// All transactions, by the clients' names.
#[must_use]
pub fn of(trace: &Trace) -> BTreeMap<String, Client> {
    let mut clients = BTreeMap::<String, Client>::new();
    for (at, entry) in trace.entries.iter().enumerate() {
        let (Entry::Offer { transaction, .. }
        | Entry::Prepared { transaction }
        | Entry::Refused { transaction }
        | Entry::Commit { transaction }
        | Entry::Committed { transaction }
        | Entry::Abort { transaction }
        | Entry::Aborted { transaction }) = entry
        else {
            continue;
        };
        let client = clients.entry(transaction.clone()).or_default();
        match entry {
            Entry::Offer { events, .. } => {
                client.offers.push(Offer { at, events: events.clone(), prepared: None });
            }
            Entry::Prepared { .. } => {
                if let Some(offer) = client.offers.last_mut() {
                    offer.prepared = Some(at);
                }
            }
            Entry::Commit { .. } => client.commit = Some(at),
            Entry::Committed { .. } => client.committed = Some(at),
            Entry::Abort { .. } => client.abort = Some(at),
            Entry::Aborted { .. } => client.aborted = Some(at),
            _ => {}
        }
    }
    clients
}
