//! What is asked of a registry next, and when.
//!
//! The invariants:
//!
//! - **One question at a time**, and each id once: what is known is not asked for again.
//! - **A registry that fails is asked as often as one subject would ask it**, whatever number of subjects waits: its pauses are those of all of them. A subject that is refused for itself delays no other.
//! - **It is asked again for ever.** A fault that a person has to mend is no reason to give up: nobody has to tell the agent when it is mended.
//!
//! Of several servers another one is asked at once when one fails; there is a pause when all of them have. Pauses are exponential with full jitter, see [`keyferry_pipeline::backoff`]. Pure: the time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry_event::SchemaId;
use keyferry_pipeline::backoff::Backoff;

use crate::failure::Refusal;

/// How patient a resolver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many servers the registry has; none counts as one.
    pub servers: usize,
    /// The first pause is shorter than this; each further one may be twice as long.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

/// How it stands with a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its schema has this id.
    Known(SchemaId),
    /// It is being asked for, and nothing speaks against it so far.
    Asked,
    /// There is no id for now.
    Refused(Refusal),
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<S> {
    /// Ask the server of this number for the id of this subject, and tell by [`Resolver::answered`] what came of it.
    Ask {
        /// The subject.
        subject: S,
        /// The server's place among those that there are.
        server: usize,
    },
    /// Nothing, until then or until something is wanted; `None` is for ever.
    Wait(Option<u64>),
}

/// Finds the ids of subjects, whatever those are.
#[derive(Debug)]
pub struct Resolver<S> {
    settings: Settings,
    subjects: BTreeMap<S, Subject>,
    /// The server that is asked next.
    server: usize,
    /// How many servers have failed in a row.
    failed: usize,
    /// What is wrong with all of them, since when.
    trouble: Option<(Refusal, u64)>,
    backoff: Backoff,
    /// No subject is asked for before.
    not_before_ms: u64,
    random: u64,
}

#[derive(Debug)]
enum Subject {
    Known(SchemaId),
    Wanted {
        /// What is wrong with this one, since when.
        refusal: Option<(Refusal, u64)>,
        backoff: Backoff,
        not_before_ms: u64,
    },
}

/// What a resolver tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Subjects whose id is known.
    pub known: usize,
    /// Subjects that were asked for and have none.
    pub waiting: usize,
    /// What is wrong with the registry, or else what keeps one of them from having one for the longest time; since when.
    pub failing: Option<(Refusal, u64)>,
}

impl<S: Ord + Clone> Resolver<S> {
    /// One that knows nothing. `seed` is that of the pauses' jitter.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(settings.first_pause, settings.longest_pause, seed),
            settings,
            subjects: BTreeMap::new(),
            server: 0,
            failed: 0,
            trouble: None,
            not_before_ms: 0,
            random: seed,
        }
    }

    /// How it stands with `subject`, which is wanted from now on.
    pub fn look_up(&mut self, subject: &S) -> Standing {
        if !self.subjects.contains_key(subject) {
            // Each has a jitter of its own.
            self.random = self.random.wrapping_add(1);
            let backoff = Backoff::new(self.settings.first_pause, self.settings.longest_pause, self.random);
            let wanted = Subject::Wanted { refusal: None, backoff, not_before_ms: 0 };
            self.subjects.insert(subject.clone(), wanted);
        }
        let refused = match self.subjects.get(subject) {
            Some(Subject::Known(id)) => return Standing::Known(*id),
            Some(Subject::Wanted { refusal, .. }) => refusal.as_ref(),
            None => None,
        };
        // What was said before the registry had trouble may hold no more, and the trouble is to be mended first.
        match self.trouble.as_ref().or(refused) {
            Some((refusal, _)) => Standing::Refused(refusal.clone()),
            None => Standing::Asked,
        }
    }

    /// What to do now.
    pub fn next(&self, now_ms: u64) -> Next<S> {
        let wanted = self.subjects.iter().filter_map(|(subject, stands)| match stands {
            Subject::Wanted { not_before_ms, .. } => Some((*not_before_ms, subject)),
            Subject::Known(_) => None,
        });
        match wanted.min() {
            None => Next::Wait(None),
            Some((not_before_ms, subject)) => match not_before_ms.max(self.not_before_ms) {
                at_ms if at_ms > now_ms => Next::Wait(Some(at_ms)),
                _ => Next::Ask { subject: subject.clone(), server: self.server },
            },
        }
    }

    /// Takes in what came of asking `server` for `subject`.
    pub fn answered(&mut self, subject: &S, server: usize, outcome: Result<SchemaId, Refusal>, now_ms: u64) {
        match outcome {
            Err(refusal) if refusal.kind.is_of_registry() => self.fails(server, refusal, now_ms),
            outcome => {
                self.answers();
                self.settle(subject, outcome, now_ms);
            }
        }
    }

    /// What was wrong may be mended: everything is asked for at once. What is known stays known.
    pub fn try_again(&mut self, settings: Settings) {
        self.settings = settings;
        self.answers();
        self.server = 0;
        for stands in self.subjects.values_mut() {
            if let Subject::Wanted { backoff, not_before_ms, .. } = stands {
                backoff.set_limits(settings.first_pause, settings.longest_pause);
                backoff.reset();
                *not_before_ms = 0;
            }
        }
    }

    /// What there is to tell.
    pub fn tally(&self) -> Tally {
        let waiting = self.subjects.values().filter(|stands| matches!(stands, Subject::Wanted { .. }));
        let refused = self.subjects.values().filter_map(|stands| match stands {
            Subject::Wanted { refusal, .. } => refusal.as_ref(),
            Subject::Known(_) => None,
        });
        let waiting = waiting.count();
        let trouble = self.trouble.as_ref().filter(|_| waiting > 0);
        let failing = trouble.or_else(|| refused.min_by_key(|(_, since_ms)| *since_ms)).cloned();
        Tally { known: self.subjects.len() - waiting, waiting, failing }
    }

    fn settle(&mut self, subject: &S, outcome: Result<SchemaId, Refusal>, now_ms: u64) {
        // Whoever asks for what nobody wants has asked for nothing.
        let Some(stands) = self.subjects.get_mut(subject) else { return };
        match (outcome, &mut *stands) {
            (Ok(id), _) => *stands = Subject::Known(id),
            (Err(new), Subject::Wanted { refusal, backoff, not_before_ms }) => {
                let since_ms = refusal.as_ref().map_or(now_ms, |(_, since_ms)| *since_ms);
                *refusal = Some((new, since_ms));
                *not_before_ms = now_ms + millis(backoff.next_delay());
            }
            (Err(_), Subject::Known(_)) => {}
        }
    }

    /// The registry answers, whatever it says.
    fn answers(&mut self) {
        (self.failed, self.trouble, self.not_before_ms) = (0, None, 0);
        self.backoff.set_limits(self.settings.first_pause, self.settings.longest_pause);
        self.backoff.reset();
    }

    fn fails(&mut self, server: usize, trouble: Refusal, now_ms: u64) {
        let (servers, is_of_server) = (self.settings.servers.max(1), trouble.kind.is_of_server());
        let since_ms = self.trouble.as_ref().map_or(now_ms, |(_, since_ms)| *since_ms);
        self.trouble = Some((trouble, since_ms));
        self.failed += 1;
        self.server = (server + 1) % servers;
        if !is_of_server || self.failed.is_multiple_of(servers) {
            self.not_before_ms = now_ms + millis(self.backoff.next_delay());
        }
    }
}

/// Saturates after 584 million years.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    const SETTINGS: Settings = Settings {
        servers: 1,
        first_pause: Duration::from_millis(200),
        longest_pause: Duration::from_secs(5),
    };

    fn refusal(kind: Kind) -> Refusal {
        Refusal { kind, what: kind.word().to_owned() }
    }

    /// A registry that is asked by a resolver as time goes by.
    struct Play {
        resolver: Resolver<&'static str>,
        now_ms: u64,
        /// When which server was asked for what.
        asked: Vec<(u64, usize, &'static str)>,
    }

    impl Play {
        fn of(servers: usize) -> Self {
            let resolver = Resolver::new(Settings { servers, ..SETTINGS }, 7);
            Self { resolver, now_ms: 1_000, asked: Vec::new() }
        }

        /// Lets time go by up to `until_ms`, or until nothing is to be done; `answer` is asked what the registry says.
        fn run(
            &mut self,
            until_ms: u64,
            answer: impl Fn(u64, usize, &'static str) -> Result<SchemaId, Refusal>,
        ) {
            loop {
                match self.resolver.next(self.now_ms) {
                    Next::Ask { subject, server } => {
                        self.asked.push((self.now_ms, server, subject));
                        let outcome = answer(self.now_ms, server, subject);
                        self.now_ms += 1;
                        self.resolver.answered(&subject, server, outcome, self.now_ms);
                    }
                    Next::Wait(Some(at_ms)) if at_ms < until_ms => self.now_ms = at_ms,
                    Next::Wait(_) => return self.now_ms = self.now_ms.max(until_ms),
                }
            }
        }
    }

    #[test]
    fn an_id_is_asked_for_once_and_kept() {
        let mut play = Play::of(1);
        assert_eq!(play.resolver.next(0), Next::Wait(None), "nothing is wanted");
        assert_eq!(play.resolver.look_up(&"a"), Standing::Asked);
        play.run(5_000, |_, _, _| Ok(SchemaId(3)));
        assert_eq!(play.resolver.look_up(&"a"), Standing::Known(SchemaId(3)));
        play.run(9_999_999, |_, _, _| panic!("it is known"));
        assert_eq!(play.asked.len(), 1);
        assert_eq!(play.resolver.tally(), Tally { known: 1, waiting: 0, failing: None });
    }

    #[test]
    fn a_registry_that_fails_is_asked_as_if_one_subject_waited_and_answers_all_when_it_is_back() {
        const BACK_MS: u64 = 600_000;
        let outage = |subjects: &[&'static str]| {
            let mut play = Play::of(1);
            subjects.iter().for_each(|subject| assert_eq!(play.resolver.look_up(subject), Standing::Asked));
            play.run(BACK_MS, |_, _, _| Err(refusal(Kind::Unreachable)));
            play
        };
        let one = outage(&["a"]).asked.len();
        let mut many = outage(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert!(many.asked.len() <= one + 1, "{} questions of eight, {one} of one", many.asked.len());
        // Ten minutes of pauses of 2.5 s on average.
        assert!((150..500).contains(&one), "{one}");
        let longest = many.asked.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!((4_000..=5_001).contains(&longest), "{longest}");
        let Tally { waiting, failing: Some((trouble, since_ms)), .. } = many.resolver.tally() else {
            panic!("{:?}", many.resolver.tally());
        };
        assert_eq!(
            (waiting, trouble.kind, since_ms),
            (8, Kind::Unreachable, 1_001),
            "since the first failure"
        );
        assert_eq!(many.resolver.look_up(&"z"), Standing::Refused(trouble), "nobody need ask to know");
        many.run(BACK_MS + 5_001, |_, _, _| Ok(SchemaId(1)));
        assert_eq!(many.resolver.tally(), Tally { known: 9, waiting: 0, failing: None });
    }

    #[test]
    fn pauses_begin_short_grow_and_begin_anew_with_an_answer() {
        let mut play = Play::of(1);
        play.resolver.look_up(&"a");
        play.run(60_000, |_, _, _| Err(refusal(Kind::Slow)));
        let pauses: Vec<u64> = play.asked.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1).collect();
        assert!(pauses[0] <= 200 && pauses[1] <= 400 && pauses[2] <= 800, "{pauses:?}");
        play.run(70_000, |_, _, _| Ok(SchemaId(1)));
        play.resolver.look_up(&"b");
        let before = play.asked.len();
        let begin_ms = play.now_ms;
        play.run(begin_ms + 250, |_, _, _| Err(refusal(Kind::Slow)));
        assert!(play.asked.len() - before >= 2, "the pause before the second question is a first one");
    }

    #[test]
    fn two_agents_do_not_ask_in_step() {
        let times = |seed| {
            let resolver = Resolver::new(SETTINGS, seed);
            let mut play = Play { resolver, now_ms: 1_000, asked: Vec::new() };
            play.resolver.look_up(&"a");
            play.run(60_000, |_, _, _| Err(refusal(Kind::Unreachable)));
            play.asked.into_iter().map(|(at_ms, ..)| at_ms).collect::<Vec<_>>()
        };
        let (one, other) = (times(1), times(2));
        let in_step = one.iter().skip(1).filter(|at_ms| other.contains(at_ms)).count();
        assert!(in_step * 10 < one.len(), "{in_step} of {}", one.len());
    }

    #[test]
    fn a_subject_that_is_refused_delays_no_other_and_is_asked_for_again() {
        for kind in [Kind::Forbidden, Kind::Incompatible, Kind::Invalid, Kind::Missing] {
            let mut play = Play::of(1);
            play.resolver.look_up(&"a");
            play.resolver.look_up(&"b");
            play.run(1_050, |_, _, subject| match subject {
                "a" => Err(refusal(kind)),
                _ => Ok(SchemaId(2)),
            });
            assert_eq!(play.resolver.look_up(&"b"), Standing::Known(SchemaId(2)), "{kind:?}");
            assert_eq!(play.resolver.look_up(&"a"), Standing::Refused(refusal(kind)));
            assert_eq!(play.resolver.look_up(&"c"), Standing::Asked, "another one is not refused");
            play.run(60_000, |at_ms, _, _| if at_ms < 30_000 { Err(refusal(kind)) } else { Ok(SchemaId(3)) });
            assert_eq!(play.resolver.look_up(&"a"), Standing::Known(SchemaId(3)), "by itself");
        }
    }

    #[test]
    fn who_is_refused_is_told_of_the_registry_s_trouble_while_there_is_any() {
        let mut play = Play::of(1);
        play.resolver.look_up(&"a");
        let told = |play: &mut Play| {
            let Tally { failing: Some((refusal, _)), .. } = play.resolver.tally() else { panic!("it waits") };
            assert_eq!(play.resolver.look_up(&"a"), Standing::Refused(refusal.clone()));
            refusal.kind
        };
        for (until_ms, kind) in
            [(10_000, Kind::Forbidden), (20_000, Kind::Unauthenticated), (30_000, Kind::Forbidden)]
        {
            play.run(until_ms, |_, _, _| Err(refusal(kind)));
            assert_eq!(told(&mut play), kind);
        }
    }

    #[test]
    fn another_server_is_asked_at_once_and_there_is_a_pause_when_all_have_failed() {
        let mut play = Play::of(3);
        play.resolver.look_up(&"a");
        play.run(1_050, |_, server, _| match server {
            2 => Ok(SchemaId(1)),
            _ => Err(refusal(Kind::Unreachable)),
        });
        assert_eq!(play.asked, [(1_000, 0, "a"), (1_001, 1, "a"), (1_002, 2, "a")]);
        play.resolver.look_up(&"b");
        play.run(2_000, |_, server, _| {
            assert_eq!(server, 2, "the one that answers is asked again");
            Ok(SchemaId(2))
        });
        let mut away = Play::of(3);
        away.resolver.look_up(&"a");
        away.run(60_000, |_, _, _| Err(refusal(Kind::Failing)));
        let rounds = away.asked.chunks(3).filter(|round| round.len() == 3);
        for round in rounds {
            assert_eq!(round.iter().map(|(_, server, _)| *server).collect::<Vec<_>>(), [0, 1, 2]);
            assert_eq!(round[2].0 - round[0].0, 2, "at once");
        }
        assert!(away.asked.len() < 150, "{}", away.asked.len());
    }

    #[test]
    fn a_login_that_is_refused_is_not_tried_at_every_server() {
        let mut play = Play::of(3);
        play.resolver.look_up(&"a");
        play.run(60_000, |_, _, _| Err(refusal(Kind::Unauthenticated)));
        assert!(play.asked.len() < 50, "{}", play.asked.len());
    }

    #[test]
    fn what_was_mended_is_tried_at_once_and_what_is_known_stays() {
        let mut play = Play::of(2);
        play.resolver.look_up(&"a");
        play.run(2_000, |_, _, _| Ok(SchemaId(1)));
        play.resolver.look_up(&"b");
        play.run(60_000, |_, _, _| Err(refusal(Kind::Unauthenticated)));
        play.resolver.try_again(SETTINGS);
        let now_ms = play.now_ms;
        assert_eq!(play.resolver.next(now_ms), Next::Ask { subject: "b", server: 0 });
        assert_eq!(play.resolver.look_up(&"a"), Standing::Known(SchemaId(1)));
        assert_eq!(play.resolver.look_up(&"b"), Standing::Asked, "it is too early to say that it is refused");
    }
}
