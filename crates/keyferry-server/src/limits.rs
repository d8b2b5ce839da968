//! How often somebody may ask.
//!
//! The invariant: **whoever asks too often is told when to ask again, and nobody who asks makes the agent remember more than [`Limiter::MOST_CLIENTS`] clients.** It is the generic cell rate
//! algorithm (ITU-T I.371, annex A), a token bucket of which nothing is kept but the time at which it will be full again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// So many at once, and then one each so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How long it takes until one more may.
    pub interval: Duration,
}

impl Rate {
    /// `each_second`, of which as many as come in four seconds may come at once.
    pub fn each_second(each_second: u32) -> Self {
        let each_second = each_second.max(1);
        Self { burst: each_second.saturating_mul(4), interval: Duration::from_secs(1) / each_second }
    }
}

/// Holds each client to a rate. Times are counted from whenever the caller likes.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    /// When the bucket of each client will be full again.
    full_at: HashMap<IpAddr, Duration>,
}

impl Limiter {
    /// How many clients are remembered. Beyond that those are forgotten who have asked least.
    pub const MOST_CLIENTS: usize = 4096;

    /// Nobody has asked yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new() }
    }

    /// Whether `client` may ask at `now`.
    ///
    /// # Errors
    /// Not before so long has passed.
    pub fn look(&self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at.get(&network(client)).copied().unwrap_or(now).max(now);
        let allowance = self.rate.interval.saturating_mul(self.rate.burst.saturating_sub(1));
        match (full_at - now).checked_sub(allowance) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Counts that `client` asks at `now`.
    pub fn count(&mut self, client: IpAddr, now: Duration) {
        let client = network(client);
        if !self.full_at.contains_key(&client) && self.full_at.len() >= Self::MOST_CLIENTS {
            self.forget(now);
        }
        let full_at = self.full_at.entry(client).or_insert(now);
        *full_at = (*full_at).max(now) + self.rate.interval;
    }

    /// Forgets those who have not asked for long, or the one who has asked least.
    fn forget(&mut self, now: Duration) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() < Self::MOST_CLIENTS {
            return;
        }
        if let Some((least, _)) = self.full_at.iter().min_by_key(|(_, full_at)| **full_at) {
            let least = *least;
            self.full_at.remove(&least);
        }
    }
}

/// Who has an address of IPv6 has the 2^64 beside it.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_millis(100) };

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ask(limiter: &mut Limiter, of: IpAddr, ms: u64) -> Result<(), Duration> {
        limiter.look(of, at(ms)).inspect(|()| limiter.count(of, at(ms)))
    }

    #[test]
    fn so_many_may_come_at_once_and_then_one_each_so_often() {
        let mut limiter = Limiter::new(RATE);
        for _ in 0..3 {
            assert_eq!(ask(&mut limiter, client(1), 1_000), Ok(()));
        }
        assert_eq!(ask(&mut limiter, client(1), 1_000), Err(at(100)));
        assert_eq!(ask(&mut limiter, client(1), 1_060), Err(at(40)), "the wait is what is left of it");
        assert_eq!(ask(&mut limiter, client(2), 1_060), Ok(()), "another one has done nothing");
        assert_eq!(ask(&mut limiter, client(1), 1_100), Ok(()));
        assert_eq!(ask(&mut limiter, client(1), 1_100), Err(at(100)));
        for _ in 0..3 {
            assert_eq!(ask(&mut limiter, client(1), 9_000), Ok(()), "it does not grow beyond the burst");
        }
        assert_eq!(ask(&mut limiter, client(1), 9_000), Err(at(100)));
    }

    #[test]
    fn not_more_clients_are_remembered_than_may_be_and_who_has_asked_most_is_not_forgotten() {
        let mut limiter = Limiter::new(RATE);
        for _ in 0..3 {
            ask(&mut limiter, client(0), 0).unwrap();
        }
        for number in 1..=2 * Limiter::MOST_CLIENTS as u32 {
            ask(&mut limiter, client(number), 1).unwrap();
            assert!(limiter.full_at.len() <= Limiter::MOST_CLIENTS);
        }
        assert_eq!(ask(&mut limiter, client(0), 1), Err(at(99)));
        ask(&mut limiter, client(9_999_999), 10_000).unwrap();
        assert_eq!(limiter.full_at.len(), 1, "who has not asked for long is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_so_are_both_spellings_of_an_address_of_ipv4() {
        let mut limiter = Limiter::new(RATE);
        for host in 0..3_u128 {
            ask(&mut limiter, Ipv6Addr::from_bits((0x2001_0db8 << 96) | host).into(), 0).unwrap();
        }
        let other_host = Ipv6Addr::from_bits((0x2001_0db8 << 96) | 99).into();
        assert!(ask(&mut limiter, other_host, 0).is_err());
        let other_network = Ipv6Addr::from_bits((0x2001_0db8 << 96) | 1 << 64).into();
        assert!(ask(&mut limiter, other_network, 0).is_ok());
        for _ in 0..3 {
            ask(&mut limiter, Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), 0).unwrap();
        }
        assert!(ask(&mut limiter, Ipv4Addr::LOCALHOST.into(), 0).is_err());
    }
}
