//! The network between a client and a server: a TCP proxy that cuts, stalls and slows down.
//!
//! It relays bytes and knows no protocol. Two threads serve each connection, one for each direction, and look at the state of the link
//! before they pass on anything.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::joined;
use crate::{Error, Result};

/// How much is passed on at once, in bytes.
const CHUNK: usize = 16 * 1024;
/// How many chunks may be on their way at once, in each direction of a connection.
const ON_THEIR_WAY: usize = 64;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It works.
    Up,
    /// Connections break, and new ones break at once.
    Cut,
    /// Connections stay, and nothing passes: packets are lost for a while.
    Stalled,
    /// Requests pass, answers do not.
    AnswersStalled,
    /// Answers pass, requests do not.
    RequestsStalled,
    /// A long way on which packets are lost: TCP sends them again, everything behind them waits, and the sender slows down.
    Lossy {
        /// How long a packet is on its way, in each direction.
        delay: Duration,
        /// How many packets of a hundred are lost.
        loss_percent: u8,
    },
    /// Each chunk of bytes comes late, and few pass in a second.
    Slow {
        /// How late.
        delay: Duration,
        /// How many bytes pass in a second, in each direction.
        bytes_per_second: u32,
    },
}

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// The bytes of a packet on Ethernet.
const PACKET: usize = 1460;
/// The least time after which a sender takes a packet for lost (RFC 6298 asks for a second, Linux waits for a fifth).
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

impl Link {
    /// Whether bytes have to wait for another state of the link.
    fn holds_back(self, direction: Direction) -> bool {
        match self {
            Self::Stalled => true,
            Self::AnswersStalled => direction == Direction::ToClient,
            Self::RequestsStalled => direction == Direction::ToServer,
            Self::Up | Self::Cut | Self::Slow { .. } | Self::Lossy { .. } => false,
        }
    }

    /// How long a chunk takes until the next one may follow. `is_lost` says of a packet whether it is.
    fn time_for(self, bytes: usize, mut is_lost: impl FnMut(u8) -> bool) -> Duration {
        match self {
            Self::Slow { delay, bytes_per_second } => {
                delay + Duration::from_secs_f64(bytes as f64 / f64::from(bytes_per_second))
            }
            Self::Lossy { delay, loss_percent } => {
                let lost = (0..bytes.div_ceil(PACKET)).filter(|_| is_lost(loss_percent)).count();
                let timeout = LEAST_TIMEOUT.max(delay * 2);
                let rate = throughput(delay * 2, loss_percent);
                Duration::from_secs_f64(bytes as f64 / rate)
                    + timeout * u32::try_from(lost).unwrap_or(u32::MAX)
            }
            Self::Up | Self::Cut | Self::Stalled | Self::AnswersStalled | Self::RequestsStalled => {
                Duration::ZERO
            }
        }
    }

    /// How long bytes are on their way, which does not keep others from following.
    fn latency(self) -> Duration {
        match self {
            Self::Lossy { delay, .. } => delay,
            _ => Duration::ZERO,
        }
    }
}

/// What TCP makes of a way with losses, in bytes a second (M. Mathis et al., "The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm", 1997).
fn throughput(round_trip: Duration, loss_percent: u8) -> f64 {
    let loss = f64::from(loss_percent.max(1)) / 100.0;
    PACKET as f64 / round_trip.as_secs_f64().max(0.001) * (1.5 / loss).sqrt()
}

/// A proxy on a port of its own. Dropping it breaks all connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    link: Link,
    closed: bool,
    connections: Vec<TcpStream>,
}

impl Proxy {
    /// A proxy of `server`, which may start later.
    ///
    /// # Errors
    /// Where there is no port left.
    pub fn start(server: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind", "127.0.0.1:0"))?;
        let address = listener.local_addr().map_err(Error::io("read the address of", "127.0.0.1:0"))?;
        let state = State { link: Link::Up, closed: false, connections: Vec::new() };
        let shared = Arc::new(Shared { server, state: Mutex::new(state), changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || for_thread.accept(&listener));
        Ok(Self { port: address.port(), shared })
    }

    /// Where clients connect, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what the network does, for connections old and new.
    pub fn set(&self, link: Link) {
        self.shared.change(|state| {
            state.link = link;
            if link == Link::Cut {
                state.break_connections();
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.closed = true;
            state.break_connections();
        });
        // The listening thread wakes up and sees that it is over; if it cannot be reached, it has ended already.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl State {
    fn break_connections(&mut self) {
        for connection in self.connections.drain(..) {
            // Either end may have closed it already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            let (closed, link) = {
                let state = self.state();
                (state.closed, state.link)
            };
            if closed {
                return;
            }
            if link != Link::Cut {
                // A connection that cannot be made is one that the client sees break.
                let _ = self.connect(client);
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        let directions = [
            (client.try_clone()?, server.try_clone()?, Direction::ToServer),
            (server.try_clone()?, client.try_clone()?, Direction::ToClient),
        ];
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        {
            // Under the lock, so that a cut breaks this connection too.
            let mut state = self.state();
            state.connections.extend([client, server]);
            if state.closed || state.link == Link::Cut {
                state.break_connections();
            }
        }
        for (from, to, direction) in directions {
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // However it ends, both ends have to know.
                let _ = shared.relay(&from, &to, direction);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }

    /// Reads, and lets another thread write what is due: bytes that are on their way do not keep others from following.
    fn relay(self: &Arc<Self>, mut from: &TcpStream, to: &TcpStream, direction: Direction) -> io::Result<()> {
        let (on_their_way, arriving) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY);
        let (shared, mut to) = (Arc::clone(self), to.try_clone()?);
        let writer = thread::spawn(move || -> io::Result<()> {
            for (due, bytes) in arriving {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                shared.wait_for_passage(direction);
                to.write_all(&bytes)?;
            }
            Ok(())
        });
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            let link = self.wait_for_passage(direction);
            thread::sleep(link.time_for(length, |percent| fastrand::u8(..100) < percent));
            let bytes = chunk[..length].to_vec();
            if on_their_way.send((Instant::now() + link.latency(), bytes)).is_err() {
                break;
            }
        }
        drop(on_their_way);
        joined(writer)
    }

    /// Waits until bytes may pass, and says how.
    fn wait_for_passage(&self, direction: Direction) -> Link {
        let waiting = |state: &mut State| !state.closed && state.link.holds_back(direction);
        let state = self.changed.wait_while(self.state(), waiting);
        state.unwrap_or_else(|poisoned| poisoned.into_inner()).link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A server that sends back what it gets, and a client's connection to it through a proxy.
    fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            io::copy(&mut stream.try_clone().unwrap(), &mut stream).ok();
        });
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        (proxy, client)
    }

    fn is_answered(mut client: &TcpStream, text: &[u8]) -> bool {
        let mut answer = vec![0; text.len()];
        client.write_all(text).unwrap();
        client.read_exact(&mut answer).is_ok() && answer == text
    }

    #[test]
    fn bytes_pass() {
        let (_proxy, client) = echo();
        assert!(is_answered(&client, b"hello"));
    }

    #[test]
    fn what_was_stalled_passes_later() {
        let (proxy, mut client) = echo();
        for stalled in [Link::Stalled, Link::AnswersStalled, Link::RequestsStalled] {
            proxy.set(stalled);
            client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            client.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            assert!(client.read_exact(&mut answer).is_err(), "{stalled:?} let something pass");
            client.set_read_timeout(Some(LIMIT)).unwrap();
            proxy.set(Link::Up);
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello");
        }
    }

    #[test]
    fn a_cut_breaks_connections_old_and_new() {
        let (proxy, mut client) = echo();
        assert!(is_answered(&client, b"hello"));
        proxy.set(Link::Cut);
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
        let mut second = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        second.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0);
    }

    #[test]
    fn a_slow_link_takes_its_time() {
        let link = Link::Slow { delay: Duration::from_millis(10), bytes_per_second: 1000 };
        assert_eq!(link.time_for(500, |_| false), Duration::from_millis(510));
        assert_eq!(Link::Up.time_for(500, |_| true), Duration::ZERO);
    }

    #[test]
    fn on_a_lossy_link_bytes_are_late_and_wait_for_those_before_them() {
        let link = Link::Lossy { delay: Duration::from_millis(150), loss_percent: 5 };
        assert_eq!(link.latency(), Duration::from_millis(150));
        let whole = link.time_for(PACKET, |_| false);
        assert!((Duration::from_millis(50)..Duration::from_millis(60)).contains(&whole), "{whole:?}");
        assert_eq!(link.time_for(PACKET, |percent| percent == 5), whole + Duration::from_millis(300));
    }
}
