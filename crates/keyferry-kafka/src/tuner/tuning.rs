//! What is tuned, and how far it may go.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// What of a pool of producers decides between latency and throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProducerTuning {
    /// The largest batch of records for one partition, in bytes before compression.
    pub batch_size: u64,
    /// How long a record may wait for its batch to fill, in milliseconds. An upper bound: a full batch leaves at once.
    pub linger_ms: u64,
    /// How batches are compressed.
    pub compression: Compression,
    /// How many requests may be unanswered on a connection: 1 to 5, the range in which an idempotent producer keeps their order.
    pub max_in_flight: u8,
    /// How many producers share the keys among them.
    pub connections: usize,
}

impl Default for ProducerTuning {
    fn default() -> Self {
        Self {
            batch_size: 64 << 10,
            linger_ms: 10,
            compression: Compression::Lz4,
            max_in_flight: 5,
            connections: 1,
        }
    }
}

impl ProducerTuning {
    /// What is different in `other`, in words: `linger 10 ms -> 0 ms, batch 64 KiB -> 256 KiB`.
    pub fn difference(&self, other: &Self) -> String {
        let changes = [
            change("linger", Ms(self.linger_ms), Ms(other.linger_ms)),
            change("batch", Size(self.batch_size), Size(other.batch_size)),
            change("compression", self.compression, other.compression),
            change("in flight", self.max_in_flight, other.max_in_flight),
            change("connections", self.connections, other.connections),
        ];
        changes.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn change<T: PartialEq + fmt::Display>(what: &str, from: T, to: T) -> Option<String> {
    (from != to).then(|| format!("{what} {from} -> {to}"))
}

#[derive(PartialEq)]
struct Ms(u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Bytes as people read them.
#[derive(PartialEq)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 10 << 30 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes >= 10 << 20 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// Values that somebody has decided on: by configuration, or by hand. What is `None` is the tuner's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explicit {
    /// See [`ProducerTuning::batch_size`].
    pub batch_size: Option<u64>,
    /// See [`ProducerTuning::linger_ms`].
    pub linger_ms: Option<u64>,
    /// See [`ProducerTuning::compression`].
    pub compression: Option<Compression>,
    /// See [`ProducerTuning::max_in_flight`].
    pub max_in_flight: Option<u8>,
    /// See [`ProducerTuning::connections`].
    pub connections: Option<usize>,
}

impl Explicit {
    /// These values, and where there is none those of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            batch_size: self.batch_size.or(other.batch_size),
            linger_ms: self.linger_ms.or(other.linger_ms),
            compression: self.compression.or(other.compression),
            max_in_flight: self.max_in_flight.or(other.max_in_flight),
            connections: self.connections.or(other.connections),
        }
    }

    /// `tuning` with these values in their places.
    pub fn over(&self, tuning: ProducerTuning) -> ProducerTuning {
        ProducerTuning {
            batch_size: self.batch_size.unwrap_or(tuning.batch_size),
            linger_ms: self.linger_ms.unwrap_or(tuning.linger_ms),
            compression: self.compression.unwrap_or(tuning.compression),
            max_in_flight: self.max_in_flight.unwrap_or(tuning.max_in_flight),
            connections: self.connections.unwrap_or(tuning.connections),
        }
    }
}

/// How far the tuner may go by itself. Explicit values may lie outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// See [`ProducerTuning::batch_size`].
    pub batch_size: RangeInclusive<u64>,
    /// See [`ProducerTuning::linger_ms`].
    pub linger_ms: RangeInclusive<u64>,
    /// See [`ProducerTuning::connections`].
    pub connections: RangeInclusive<usize>,
}

impl Default for Bounds {
    /// Batches stay below half of what a broker accepts by default (1 MiB), so that a topic with a lower limit is rarely offended.
    fn default() -> Self {
        Self { batch_size: 16 << 10..=512 << 10, linger_ms: 0..=50, connections: 1..=4 }
    }
}

impl Bounds {
    /// `tuning` with each value moved to the nearest one within these bounds.
    pub fn clamp(&self, tuning: ProducerTuning) -> ProducerTuning {
        ProducerTuning {
            batch_size: nearest(tuning.batch_size, &self.batch_size),
            linger_ms: nearest(tuning.linger_ms, &self.linger_ms),
            connections: nearest(tuning.connections, &self.connections),
            ..tuning
        }
    }
}

/// Unlike `clamp`, this cannot panic where a range is empty: its end wins.
fn nearest<T: Ord + Copy>(value: T, range: &RangeInclusive<T>) -> T {
    value.max(*range.start()).min(*range.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_changes_and_nothing_else() {
        let before = ProducerTuning::default();
        let after = ProducerTuning { linger_ms: 0, batch_size: 256 << 10, ..before };
        assert_eq!(before.difference(&after), "linger 10 ms -> 0 ms, batch 64 KiB -> 256 KiB");
        assert_eq!(before.difference(&before), "");
    }

    #[test]
    fn explicit_values_take_their_places() {
        let explicit = Explicit { linger_ms: Some(3), ..Explicit::default() };
        let tuning = explicit.over(ProducerTuning::default());
        assert_eq!(tuning, ProducerTuning { linger_ms: 3, ..ProducerTuning::default() });
        let by_hand = Explicit { linger_ms: Some(7), connections: Some(2), ..Explicit::default() };
        assert_eq!(by_hand.or(explicit).linger_ms, Some(7));
        assert_eq!(explicit.or(by_hand).connections, Some(2));
    }

    #[test]
    fn bounds_move_a_value_to_the_nearest_legal_one() {
        let wild =
            ProducerTuning { batch_size: 1, linger_ms: 9_999, connections: 0, ..ProducerTuning::default() };
        let tame = Bounds::default().clamp(wild);
        assert_eq!((tame.batch_size, tame.linger_ms, tame.connections), (16 << 10, 50, 1));
    }
}
