//! What is counted of every event on its way: the figures behind `/metrics`.
//!
//! The invariant: **counting costs no event anything that could make it wait.** There is no lock, no allocation and no parse per event: the thread that runs the
//! pipeline is the only writer of a [`Meter`] and adds by a plain load and store of a relaxed atomic; whoever reads sees each figure as it was a
//! moment ago. The names that events are counted under come from the fields beside the JSON, are learned once, and are limited in number ([`names`]), so that
//! neither memory nor the number of time series grows with what clients send.
//!
//! Times of one turn are mostly the same: they are [`Observed`], and told to the histograms at the turn's end, so that what is read between turns is exact.
//!
//! An event is counted as received once, however often it is read again after a failure: [`Counted`] tells the first time from the others.
//!
//! Without the feature `metrics` of this crate nothing is counted, which is for measuring what counting costs.

mod cells;
pub mod exemplar;
pub mod histogram;
mod names;

use std::time::Instant;

use keyferry_event::FailureClass;
use keyferry_journal::event::EventView;
use keyferry_journal::{Epoch, EventKind, Place, Transaction};

use cells::{Cells, Counter};
use exemplar::Exemplars;
pub(crate) use exemplar::Followed;
pub use exemplar::{Exemplar, TraceId};
pub use histogram::{Counts, Histogram, NATIVE_SCHEMA, Native};
use histogram::{MILLISECONDS, Run, TEN_NANOSECONDS};
pub use names::OTHER;
use names::{Learn, Names};

/// Whether anything is counted at all.
const IS_ON: bool = cfg!(feature = "metrics");

/// How many types of user events have a name of their own: Keycloak 26.7 has 127.
const USER_TYPES: usize = 160;
/// How many operations of admin events: Keycloak has 4.
const ADMIN_TYPES: usize = 8;
/// How many realms.
const REALMS: usize = 32;
/// How many clients, over all realms.
const CLIENTS: usize = 64;
/// How many kinds of error of a failed login.
const ERRORS: usize = 64;
/// One encoding in so many is timed: reading the clock twice costs about as much as encoding a record.
const TIMED_ENCODINGS: u64 = 64;

/// What an event is counted under: its kind, type and realm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClass(u16);

/// What is measured of an event when it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// What it is counted under.
    pub class: EventClass,
    /// When the journal got it, in milliseconds since the Unix epoch.
    pub written_ms: u64,
}

/// The counters of one pipeline: written by the thread that runs it, read by any.
#[derive(Debug)]
pub struct Meter {
    user_types: Names,
    admin_types: Names,
    realms: Names,
    clients: Names,
    errors: Names,
    received: Cells,
    published: Cells,
    /// By kind: bytes of keys, values and headers that were handed to the sink.
    sent_bytes: [Counter; 2],
    filtered: [Counter; 2],
    resent: Counter,
    failures: [Counter; FailureClass::ALL.len()],
    logins: Cells,
    login_failures: Cells,
    login_errors: Cells,
    registrations: Cells,
    lockouts: Cells,
    encoded: Counter,
    latency: Histogram,
    latency_exemplars: Exemplars,
    journal_wait: Histogram,
    delivery: Histogram,
    encoding: Histogram,
}

impl Default for Meter {
    fn default() -> Self {
        let (types, realms) =
            (Names::indexes(USER_TYPES) + Names::indexes(ADMIN_TYPES), Names::indexes(REALMS));
        let by_client = || Cells::new(realms * Names::indexes(CLIENTS));
        Self {
            user_types: Names::new(USER_TYPES),
            admin_types: Names::new(ADMIN_TYPES),
            realms: Names::new(REALMS),
            clients: Names::new(CLIENTS),
            errors: Names::new(ERRORS),
            received: Cells::new(types * realms),
            published: Cells::new(types * realms),
            sent_bytes: Default::default(),
            filtered: Default::default(),
            resent: Counter::default(),
            failures: Default::default(),
            logins: by_client(),
            login_failures: by_client(),
            login_errors: Cells::new(realms * Names::indexes(ERRORS)),
            registrations: by_client(),
            lockouts: by_client(),
            encoded: Counter::default(),
            latency: Histogram::new(&MILLISECONDS),
            latency_exemplars: Exemplars::default(),
            journal_wait: Histogram::new(&MILLISECONDS),
            delivery: Histogram::new(&MILLISECONDS),
            encoding: Histogram::new(&TEN_NANOSECONDS),
        }
    }
}

/// Times that were measured in this turn and are in no histogram yet.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    latency: Run,
    journal_wait: Run,
    delivery: Run,
}

/// For the thread that runs the pipeline.
impl Meter {
    /// The turn, or a part of it, has ended: histograms have all that was `observed`.
    pub(crate) fn tell(&self, observed: &mut Observed) {
        observed.latency.tell(&self.latency);
        observed.journal_wait.tell(&self.journal_wait);
        observed.delivery.tell(&self.delivery);
    }

    /// What `event` is counted under.
    #[inline(always)]
    pub(crate) fn class(&self, event: &EventView<'_>) -> EventClass {
        if !IS_ON {
            return EventClass::default();
        }
        let name = event.event_type().unwrap_or_default();
        let kind = match event.kind() {
            EventKind::User => self.user_types.index(name, Learn::Yes),
            EventKind::Admin => Names::indexes(USER_TYPES) + self.admin_types.index(name, Learn::Yes),
        };
        let class = kind * Names::indexes(REALMS) + self.realm(event);
        // There are fewer than 2^16 classes: `tests::classes_are_few`.
        EventClass(class as u16)
    }

    fn realm(&self, event: &EventView<'_>) -> usize {
        self.realms.index(event.realm_name().or(event.realm_id()).unwrap_or_default(), Learn::Yes)
    }

    /// An event is met for the first time.
    #[inline]
    pub(crate) fn received(&self, class: EventClass, event: &EventView<'_>) {
        if !IS_ON {
            return;
        }
        self.received.add(class.0.into(), 1);
        if event.kind() == EventKind::User {
            self.secure(class, event);
        }
    }

    /// What tells of attacks.
    #[inline]
    fn secure(&self, class: EventClass, event: &EventView<'_>) {
        let cells = match event.event_type() {
            Some("LOGIN") => &self.logins,
            Some("LOGIN_ERROR") => &self.login_failures,
            Some("REGISTER") => &self.registrations,
            Some("USER_DISABLED_BY_TEMPORARY_LOCKOUT" | "USER_DISABLED_BY_PERMANENT_LOCKOUT") => {
                &self.lockouts
            }
            _ => return,
        };
        self.count_by_client(cells, class, event);
    }

    fn count_by_client(&self, cells: &Cells, class: EventClass, event: &EventView<'_>) {
        let realm = usize::from(class.0) % Names::indexes(REALMS);
        let error = event.error().unwrap_or_default();
        // Of a client that does not exist, whoever tries to log in has chosen the name.
        let learn =
            if matches!(error, "client_not_found" | "invalid_client") { Learn::No } else { Learn::Yes };
        let client = self.clients.index(event.client().unwrap_or_default(), learn);
        cells.add(realm * Names::indexes(CLIENTS) + client, 1);
        if event.event_type() == Some("LOGIN_ERROR") {
            let error = self.errors.index(error, Learn::Yes);
            self.login_errors.add(realm * Names::indexes(ERRORS) + error, 1);
        }
    }

    /// An event is met for the first time that no topic wants, or that the filter does not let pass.
    pub(crate) fn filtered(&self, kind: EventKind) {
        self.filtered[of(kind)].add(1);
    }

    /// An event of `bytes` was handed to the sink; the journal got it `waited_ms` ago.
    pub(crate) fn sent(&self, kind: EventKind, bytes: usize, waited_ms: u64, observed: &mut Observed) {
        self.sent_bytes[of(kind)].add(bytes as u64);
        observed.journal_wait.add(waited_ms, &self.journal_wait);
    }

    /// An event was handed to the sink that had been before.
    pub(crate) fn resent(&self) {
        self.resent.add(1);
    }

    /// An event was acknowledged `latency_ms` after the journal got it, and `delivery_ms` after it was handed over.
    pub(crate) fn acknowledged(
        &self,
        class: EventClass,
        latency_ms: u64,
        delivery_ms: u64,
        observed: &mut Observed,
    ) {
        self.published.add(class.0.into(), 1);
        observed.latency.add(latency_ms, &self.latency);
        observed.delivery.add(delivery_ms, &self.delivery);
    }

    /// An event that belongs to a trace was acknowledged after so long, at `at_ms` of the Unix epoch.
    pub(crate) fn exemplifies(&self, trace: TraceId, latency_ms: u64, at_ms: u64) {
        self.latency_exemplars.keep(Exemplar { trace, value: latency_ms, at_ms });
    }

    /// A record failed.
    pub(crate) fn failed(&self, class: FailureClass) {
        self.failures[class as usize].add(1);
    }

    /// Begins to time an encoding, if this one is.
    pub(crate) fn begin_encoding(&self) -> Option<Instant> {
        if !IS_ON {
            return None;
        }
        self.encoded.add(1);
        self.encoded.get().is_multiple_of(TIMED_ENCODINGS).then(Instant::now)
    }

    /// The encoding has ended that [`Meter::begin_encoding`] began.
    pub(crate) fn end_encoding(&self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.encoding.record((begun.elapsed().as_nanos() / 10) as u64, 1);
        }
    }
}

fn of(kind: EventKind) -> usize {
    match kind {
        EventKind::User => 0,
        EventKind::Admin => 1,
    }
}

/// The two kinds, in the order of what is counted by kind.
const KINDS: [EventKind; 2] = [EventKind::User, EventKind::Admin];

/// A figure of events of one kind, type and realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfClass<'a> {
    /// Whether they are user or admin events.
    pub kind: EventKind,
    /// Their type, such as `LOGIN`, or operation, such as `CREATE`.
    pub event_type: &'a str,
    /// Their realm: its name, or its id where the name is not known.
    pub realm: &'a str,
    /// How many.
    pub count: u64,
}

/// A figure of one realm and something else of it: a client, or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfRealm<'a> {
    /// The realm.
    pub realm: &'a str,
    /// The client, or the error.
    pub of: &'a str,
    /// How many.
    pub count: u64,
}

/// For any thread. Figures that are zero are left out.
impl Meter {
    /// Events met in the journal, each once.
    pub fn events_received(&self) -> impl Iterator<Item = OfClass<'_>> {
        self.by_class(&self.received)
    }

    /// Events acknowledged, copies included.
    pub fn events_published(&self) -> impl Iterator<Item = OfClass<'_>> {
        self.by_class(&self.published)
    }

    fn by_class<'a>(&'a self, cells: &'a Cells) -> impl Iterator<Item = OfClass<'a>> {
        cells.counted().map(|(class, count)| {
            let (kind, realm) = (class / Names::indexes(REALMS), class % Names::indexes(REALMS));
            let realm = self.realms.name(realm);
            match kind.checked_sub(Names::indexes(USER_TYPES)) {
                None => {
                    OfClass { kind: EventKind::User, event_type: self.user_types.name(kind), realm, count }
                }
                Some(kind) => {
                    OfClass { kind: EventKind::Admin, event_type: self.admin_types.name(kind), realm, count }
                }
            }
        })
    }

    /// Bytes of keys, values and headers handed to the sink, copies included.
    pub fn bytes_sent(&self) -> [(EventKind, u64); 2] {
        KINDS.map(|kind| (kind, self.sent_bytes[of(kind)].get()))
    }

    /// Events that no topic wants, or that the filter does not let pass, each once.
    pub fn events_filtered(&self) -> [(EventKind, u64); 2] {
        KINDS.map(|kind| (kind, self.filtered[of(kind)].get()))
    }

    /// Events handed to the sink again after a failure.
    pub fn events_resent(&self) -> u64 {
        self.resent.get()
    }

    /// Records that failed, by what can be done about it.
    pub fn failures(&self) -> [(FailureClass, u64); FailureClass::ALL.len()] {
        FailureClass::ALL.map(|class| (class, self.failures[class as usize].get()))
    }

    /// Successful logins, by client.
    pub fn logins(&self) -> impl Iterator<Item = OfRealm<'_>> {
        self.by_realm(&self.logins, &self.clients)
    }

    /// Failed logins, by client.
    pub fn login_failures(&self) -> impl Iterator<Item = OfRealm<'_>> {
        self.by_realm(&self.login_failures, &self.clients)
    }

    /// Failed logins, by error.
    pub fn login_errors(&self) -> impl Iterator<Item = OfRealm<'_>> {
        self.by_realm(&self.login_errors, &self.errors)
    }

    /// Registrations, by client.
    pub fn registrations(&self) -> impl Iterator<Item = OfRealm<'_>> {
        self.by_realm(&self.registrations, &self.clients)
    }

    /// Users locked out by Keycloak's brute-force detection, by client.
    pub fn lockouts(&self) -> impl Iterator<Item = OfRealm<'_>> {
        self.by_realm(&self.lockouts, &self.clients)
    }

    fn by_realm<'a>(&'a self, cells: &'a Cells, names: &'a Names) -> impl Iterator<Item = OfRealm<'a>> {
        let many = names.size();
        cells.counted().map(move |(index, count)| OfRealm {
            realm: self.realms.name(index / many),
            of: names.name(index % many),
            count,
        })
    }

    /// From the journal to the acknowledgement, in milliseconds.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// For some sizes of [`Self::latency`] the last event that was seen of it.
    pub fn latency_exemplars(&self) -> Vec<Exemplar> {
        self.latency_exemplars.kept()
    }

    /// From the journal to the sink, in milliseconds.
    pub fn journal_wait(&self) -> &Histogram {
        &self.journal_wait
    }

    /// From the sink to the acknowledgement, in milliseconds: the client's queue and the broker.
    pub fn delivery(&self) -> &Histogram {
        &self.delivery
    }

    /// How long it took to make a record of an event, in units of ten nanoseconds; of one event in some.
    pub fn encoding(&self) -> &Histogram {
        &self.encoding
    }
}

/// Which events were met already: those up to a place in the journal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    last: Option<(Epoch, Place, u64, u32)>,
}

impl Counted {
    /// Notes that the event `index` of `transaction` is met, and answers whether that is the first time.
    #[inline]
    pub(crate) fn is_first(&mut self, transaction: &Transaction<'_>, index: u32) -> bool {
        // Transactions in doubt, at the end of an epoch, share a place; their numbers ascend.
        let met = Some((transaction.epoch, transaction.resume.head, transaction.commit, index));
        let is_first = met > self.last;
        if is_first {
            self.last = met;
        }
        is_first
    }
}

#[cfg(test)]
#[cfg(feature = "metrics")]
mod tests {
    use keyferry_journal::event::{EventEncoder, Events, Field};

    use super::*;

    fn met(meter: &Meter, kind: EventKind, fields: &[(Field, &str)]) -> EventClass {
        let mut encoder = EventEncoder::new();
        encoder.push(kind, 0, fields, b"{}");
        let event = Events::of(encoder.payload()).next().unwrap().unwrap();
        let class = meter.class(&event);
        meter.received(class, &event);
        class
    }

    #[test]
    fn classes_are_few() {
        let kinds = Names::indexes(USER_TYPES) + Names::indexes(ADMIN_TYPES);
        assert!(u16::try_from(kinds * Names::indexes(REALMS)).is_ok());
    }

    #[test]
    fn the_failures_are_in_the_order_of_their_classes() {
        for (index, class) in FailureClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
    }

    #[test]
    fn events_are_counted_by_kind_type_and_realm() {
        let meter = Meter::default();
        let login = [(Field::Type, "LOGIN"), (Field::RealmName, "shop"), (Field::RealmId, "1-2")];
        let class = met(&meter, EventKind::User, &login);
        assert_eq!(met(&meter, EventKind::User, &login), class);
        met(&meter, EventKind::Admin, &[(Field::Type, "CREATE"), (Field::RealmId, "1-2")]);
        meter.acknowledged(class, 3, 2, &mut Observed::default());
        let of = |kind, event_type, realm, count| OfClass { kind, event_type, realm, count };
        assert_eq!(
            meter.events_received().collect::<Vec<_>>(),
            [of(EventKind::User, "LOGIN", "shop", 2), of(EventKind::Admin, "CREATE", "1-2", 1)]
        );
        assert_eq!(meter.events_published().collect::<Vec<_>>(), [of(EventKind::User, "LOGIN", "shop", 1)]);
    }

    #[test]
    fn more_realms_than_there_is_room_for_are_counted_together() {
        let meter = Meter::default();
        for realm in 0..REALMS + 5 {
            let name = format!("realm-{realm}");
            met(&meter, EventKind::User, &[(Field::Type, "LOGIN"), (Field::RealmName, &name)]);
        }
        let others: Vec<_> = meter.events_received().filter(|of| of.realm == OTHER).collect();
        assert_eq!((others.len(), others[0].count), (1, 5));
        assert_eq!(meter.events_received().map(|of| of.count).sum::<u64>(), REALMS as u64 + 5);
    }

    #[test]
    fn failed_logins_are_told_by_client_and_by_error_and_invented_clients_take_no_room() {
        let meter = Meter::default();
        let attempt = |client: &str, error: &str| {
            let fields = [
                (Field::Type, "LOGIN_ERROR"),
                (Field::RealmName, "shop"),
                (Field::Client, client),
                (Field::Error, error),
            ];
            met(&meter, EventKind::User, &fields);
        };
        for guess in 0..CLIENTS + 1 {
            attempt(&format!("guess-{guess}"), "client_not_found");
        }
        attempt("web", "invalid_user_credentials");
        let of = |of, count| OfRealm { realm: "shop", of, count };
        let clients = CLIENTS as u64 + 1;
        assert_eq!(meter.login_failures().collect::<Vec<_>>(), [of("web", 1), of(OTHER, clients)]);
        assert_eq!(
            meter.login_errors().collect::<Vec<_>>(),
            [of("client_not_found", clients), of("invalid_user_credentials", 1)]
        );
        assert_eq!(meter.logins().count(), 0);
    }
}
