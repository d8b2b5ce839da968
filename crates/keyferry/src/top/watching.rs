//! The thread that listens to the agent, so that keys are heard while nothing comes from there.
//!
//! An agent that goes away may come back: after trouble it is asked again each second, for as long as somebody watches.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use keyferry_server::alerting::Incidents;
use keyferry_server::model::{Figures, Marks, Snapshot};

use crate::control::reach::Agent;
use crate::error::Error;
use crate::stop::Bell;
use crate::top::seen::{Rates, Seen};

/// How long an agent that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What has come from the agent.
pub enum News {
    /// How it stands.
    Seen(Box<Seen>),
    /// Why that is not known.
    Trouble(Error),
}

/// An agent that is listened to. The thread ends with the process, or when nobody takes its news.
pub struct Watching {
    news: Receiver<News>,
    bell: Arc<Bell>,
}

impl Watching {
    /// Listens from now on.
    ///
    /// # Errors
    /// The operating system grants no descriptor.
    pub fn start(agent: Agent) -> Result<Self, Error> {
        let bell = Arc::new(Bell::new()?);
        let (sender, news) = channel();
        let listener =
            Listener { agent, sender, bell: Arc::clone(&bell), incidents: Incidents::default(), marks: None };
        thread::spawn(|| listener.run());
        Ok(Self { news, bell })
    }

    /// What has come, after a wait for it or for one of `descriptors`; at most for `patience`.
    pub fn news(&self, descriptors: &[BorrowedFd<'_>], patience: Duration) -> Option<News> {
        self.news.try_recv().ok().or_else(|| {
            self.bell.wait(descriptors, Some(patience));
            self.news.try_recv().ok()
        })
    }
}

/// What the thread has.
struct Listener {
    agent: Agent,
    sender: Sender<News>,
    bell: Arc<Bell>,
    incidents: Incidents,
    /// Those for which the incidents were read.
    marks: Option<Marks>,
}

impl Listener {
    fn run(mut self) {
        while let Err(error) = self.listen() {
            if !self.tell(News::Trouble(error)) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Tells how the agent stands, again and again; ends when nobody wants to know any more.
    fn listen(&mut self) -> Result<(), Error> {
        let mut listening = self.agent.listen()?;
        let mut before: Option<Figures> = None;
        loop {
            let snapshot: Snapshot = listening.next_event()?;
            if self.marks.as_ref() != Some(&snapshot.marks) {
                self.incidents = self.agent.get("incidents").unwrap_or_default();
                self.marks = Some(snapshot.marks.clone());
            }
            let rates = before.as_ref().and_then(|before| Rates::between(before, &snapshot.figures));
            before = Some(snapshot.figures.clone());
            let incidents = self.incidents.incidents.clone();
            if !self.tell(News::Seen(Box::new(Seen { snapshot, rates, incidents }))) {
                return Ok(());
            }
        }
    }

    /// Answers whether anybody listens.
    fn tell(&self, news: News) -> bool {
        let is_heard = self.sender.send(news).is_ok();
        self.bell.ring();
        is_heard
    }
}
