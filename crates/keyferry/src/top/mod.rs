//! `keyferry top`: a running agent, watched.
//!
//! - `seen`: what is known of the agent, and how fast it moves.
//! - `watching`: the thread that listens to it.
//! - `view`: what is drawn of it, a function of what is known and of the width.
//! - `grid`: tables and cells that fit a width.
//! - `screen`: the terminal, taken and given back.

mod grid;
mod screen;
mod seen;
mod view;
mod watching;

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::time::Duration;

use keyferry_pipeline::Stop as _;

use crate::cli::TopArguments;
use crate::control::reach::{Agent, Directory};
use crate::error::{Error, Finding};
use crate::stop::StopSources;
use crate::terminal;
use screen::{Key, Screen};
use seen::Seen;
use watching::{News, Watching};

/// How long nobody may have pressed a key before the size of the terminal is looked at again.
const MOMENT: Duration = Duration::from_millis(200);
/// How wide what is printed is where there is no terminal.
const PAPER: usize = 100;

/// Shows the agent until it is enough.
///
/// # Errors
/// See [`Error`].
pub fn run(arguments: &TopArguments) -> Result<Finding, Error> {
    if !arguments.once && !arguments.json && !io::stdout().is_terminal() {
        return Err(Error::NoTerminal);
    }
    let agent = the_agent(arguments)?;
    let mut stop = StopSources::listen(false)?;
    let watching = Watching::start(agent)?;
    if arguments.once || arguments.json {
        print(arguments, &watching, &mut stop)?;
    } else {
        watch(&watching, &mut stop)?;
    }
    Ok(Finding::Nothing)
}

/// The only agent of the directory.
fn the_agent(arguments: &TopArguments) -> Result<Agent, Error> {
    let path = &arguments.directory;
    let mut agents = Directory::at(path)?.agents()?;
    match agents.len() {
        0 => Err(Error::NoAgent(path.clone())),
        1 => Ok(agents.remove(0)),
        _ => {
            let slots: Vec<_> = agents
                .iter()
                .filter_map(|agent| agent.socket().parent())
                .map(|slot| slot.display().to_string())
                .collect();
            Err(Error::WhichAgent { path: path.clone(), slots: slots.join(", ") })
        }
    }
}

/// Prints what there is to see, as text or JSON, once or again and again.
fn print(arguments: &TopArguments, watching: &Watching, stop: &mut StopSources) -> Result<(), Error> {
    while !stop.is_given() && !terminal::nobody_reads() {
        let seen = match watching.news(&stop.descriptors(), MOMENT) {
            // Rates need a second look.
            Some(News::Seen(seen)) if seen.rates.is_some() || !arguments.once => seen,
            Some(News::Trouble(error)) => return Err(error),
            Some(News::Seen(_)) | None => continue,
        };
        let mut out = terminal::output();
        if arguments.json {
            serde_json::to_writer(&mut out, &*seen).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            let width = screen::size().map_or(PAPER, |(width, _)| width);
            for line in view::lines(&seen, None, width) {
                writeln!(out, "{}", line.styled())?;
            }
        }
        out.flush()?;
        if arguments.once {
            break;
        }
    }
    Ok(())
}

/// Draws what there is to see, until `q` is pressed or a signal comes.
fn watch(watching: &Watching, stop: &mut StopSources) -> Result<(), Error> {
    let mut screen = Screen::take()?;
    let mut seen: Option<Box<Seen>> = None;
    let mut trouble = None;
    while !stop.is_given() && !terminal::nobody_reads() {
        let stdin = io::stdin();
        let mut descriptors = stop.descriptors();
        descriptors.extend(screen.reads_keys().then(|| stdin.as_fd()));
        match watching.news(&descriptors, MOMENT) {
            Some(News::Seen(news)) => (seen, trouble) = (Some(news), None),
            Some(News::Trouble(error)) => trouble = Some(error.to_string()),
            None => {}
        }
        if screen.keys().contains(&Key::Quit) {
            break;
        }
        let width = screen.width();
        let lines = match &seen {
            Some(seen) => view::lines(seen, trouble.as_deref(), width),
            None => view::waiting(trouble.as_deref(), width),
        };
        screen.draw(&lines)?;
    }
    Ok(())
}
