//! The terminal: taken, drawn on, and given back.
//!
//! The invariant: **whoever gets the terminal back gets it as it was**, also after a signal or a panic, because giving it back is what happens when [`Screen`] is dropped. What was on it before comes
//! back as well, because a second screen is drawn on.
//!
//! A picture is one write, line over line, without clearing first: nothing flickers. The sequences are those of ECMA-48 and of xterm.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::error::Error;
use crate::terminal::FAINT;
use crate::top::grid::Line;

/// The second screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// A terminal that knows it shows what comes between the two at once.
const BEGIN_PICTURE: &str = "\x1b[?2026h\x1b[H";
const END_PICTURE: &str = "\x1b[J\x1b[?2026l";
/// The rest of the line.
const CLEAR_LINE: &str = "\x1b[K";

/// What somebody has pressed that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// It is enough.
    Quit,
    /// Look so many lines further down; up if less than 0.
    Scroll(isize),
    /// Look further down by a screen; up if not.
    Page(bool),
}

/// The terminal, taken.
pub struct Screen {
    /// How it was; `None` if keys come from elsewhere.
    before: Option<Termios>,
    has_colours: bool,
    /// The first line that is shown.
    offset: usize,
    /// What was pressed and is not understood yet.
    pressed: Vec<u8>,
}

/// Columns and lines of the terminal, if there is one.
pub fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)?;
    Some((size.ws_col.into(), size.ws_row.into()))
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// It does not let keys be read one by one.
    pub fn take() -> Result<Self, Error> {
        let stdin = io::stdin();
        let before = stdin.is_terminal().then(|| tcgetattr(&stdin)).transpose().map_err(Error::Terminal)?;
        if let Some(before) = &before {
            let mut silent = before.clone();
            // Signals stay: Ctrl-C and Ctrl-Z do what they do elsewhere.
            silent.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(Error::Terminal)?;
        }
        let has_colours = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        let screen = Self { before, has_colours, offset: 0, pressed: Vec::new() };
        write(ENTER)?;
        Ok(screen)
    }

    /// Whether keys can be read.
    pub fn reads_keys(&self) -> bool {
        self.before.is_some()
    }

    /// Its columns.
    pub fn width(&self) -> usize {
        size().map_or(80, |(width, _)| width)
    }

    fn height(&self) -> usize {
        size().map_or(24, |(_, height)| height)
    }

    /// What was pressed. The picture is moved as far as that asks for.
    pub fn keys(&mut self) -> Vec<Key> {
        self.read();
        let keys = keys(&mut self.pressed);
        let page = self.height().saturating_sub(2).cast_signed();
        for key in &keys {
            let by = match key {
                Key::Quit => 0,
                Key::Scroll(lines) => *lines,
                Key::Page(is_down) => {
                    if *is_down {
                        page
                    } else {
                        -page
                    }
                }
            };
            self.offset = self.offset.saturating_add_signed(by);
        }
        keys
    }

    fn read(&mut self) {
        let stdin = io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        if !self.reads_keys() || !poll(&mut ready, Some(&at_once)).is_ok_and(|count| count > 0) {
            return;
        }
        let mut bytes = [0_u8; 64];
        // At the end, and after an error, the terminal is gone: the signal that tells so is on its way.
        let count = rustix::io::read(&stdin, &mut bytes).unwrap_or_default();
        self.pressed.extend_from_slice(&bytes[..count]);
    }

    /// Draws what there is room for.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, lines: &[Line]) -> Result<(), Error> {
        let (width, height) = (self.width(), self.height());
        let room = height.saturating_sub(1);
        self.offset = self.offset.min(lines.len().saturating_sub(room));
        let shown = lines.iter().skip(self.offset).take(room);
        let below = lines.len().saturating_sub(self.offset + room);
        let mut foot = "q ends".to_owned();
        if self.offset > 0 || below > 0 {
            foot.push_str(&format!("   ↑ {} ↓ {below} more", self.offset));
        }
        let mut picture = String::from(BEGIN_PICTURE);
        for line in shown {
            let text = if self.has_colours { line.styled() } else { line.plain() };
            picture.push_str(&format!("{text}{CLEAR_LINE}\r\n"));
        }
        let foot = Line::of(FAINT, foot).clipped(width);
        picture.push_str(&if self.has_colours { foot.styled() } else { foot.plain() });
        picture.push_str(&format!("{CLEAR_LINE}{END_PICTURE}"));
        write(&picture)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn write(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// The keys that `pressed` begins with; what may be the beginning of another stays. The sequences are those of xterm.
fn keys(pressed: &mut Vec<u8>) -> Vec<Key> {
    const SEQUENCES: [(&[u8], Key); 10] = [
        (b"q", Key::Quit),
        (b"Q", Key::Quit),
        (b"j", Key::Scroll(1)),
        (b"k", Key::Scroll(-1)),
        (b"\x1b[B", Key::Scroll(1)),
        (b"\x1b[A", Key::Scroll(-1)),
        (b"\x1bOB", Key::Scroll(1)),
        (b"\x1bOA", Key::Scroll(-1)),
        (b"\x1b[6~", Key::Page(true)),
        (b"\x1b[5~", Key::Page(false)),
    ];
    let mut keys = Vec::new();
    while !pressed.is_empty() {
        if let Some((sequence, key)) = SEQUENCES.iter().find(|(sequence, _)| pressed.starts_with(sequence)) {
            keys.push(*key);
            pressed.drain(..sequence.len());
        } else if SEQUENCES.iter().any(|(sequence, _)| sequence.starts_with(pressed)) {
            break;
        } else {
            pressed.remove(0);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_come_in_parts_and_what_is_none_is_passed_over() {
        let mut pressed = b"x\x1b[B\x1b[99zk\x1b[5".to_vec();
        assert_eq!(keys(&mut pressed), [Key::Scroll(1), Key::Scroll(-1)]);
        pressed.extend(b"~q");
        assert_eq!(keys(&mut pressed), [Key::Page(false), Key::Quit]);
        assert!(pressed.is_empty());
    }
}
