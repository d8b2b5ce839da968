//! How often which setting was moved which way, for whoever watches from afar.

use std::cmp::Ordering;

use super::tuning::{Compression, ProducerTuning};

/// What can be moved.
const SETTINGS: [&str; 5] = ["batch-size", "linger", "compression", "in-flight", "connections"];
/// Which way.
const DIRECTIONS: [&str; 2] = ["up", "down"];

/// How often each setting was moved each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions([[u64; DIRECTIONS.len()]; SETTINGS.len()]);

impl Decisions {
    /// Counts the change of `before` into `after`.
    pub(crate) fn count(&mut self, before: &ProducerTuning, after: &ProducerTuning) {
        for (counts, moved) in self.0.iter_mut().zip(moved(before, after)) {
            match moved {
                Ordering::Greater => counts[0] += 1,
                Ordering::Less => counts[1] += 1,
                Ordering::Equal => {}
            }
        }
    }

    /// Setting, direction and count of all there are, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let of_setting = |(setting, counts): (&'static str, [u64; 2])| {
            DIRECTIONS.into_iter().zip(counts).map(move |(direction, count)| (setting, direction, count))
        };
        SETTINGS.into_iter().zip(self.0).flat_map(of_setting)
    }
}

/// How each setting of `after` compares with that of `before`.
fn moved(before: &ProducerTuning, after: &ProducerTuning) -> [Ordering; SETTINGS.len()] {
    [
        after.batch_size.cmp(&before.batch_size),
        after.linger_ms.cmp(&before.linger_ms),
        strength(after.compression).cmp(&strength(before.compression)),
        after.max_in_flight.cmp(&before.max_in_flight),
        after.connections.cmp(&before.connections),
    ]
}

/// By how much bytes become fewer, in the order of what is mostly measured.
fn strength(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Snappy => 1,
        Compression::Lz4 => 2,
        Compression::Gzip => 3,
        Compression::Zstd => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_counted_by_the_way_that_it_moves() {
        let before = ProducerTuning::default();
        let after = ProducerTuning { linger_ms: 0, compression: Compression::Zstd, connections: 2, ..before };
        let mut decisions = Decisions::default();
        decisions.count(&before, &after);
        decisions.count(&after, &before);
        decisions.count(&before, &after);
        let counted: Vec<_> = decisions.iter().filter(|(.., count)| *count > 0).collect();
        assert_eq!(
            counted,
            [
                ("linger", "up", 1),
                ("linger", "down", 2),
                ("compression", "up", 2),
                ("compression", "down", 1),
                ("connections", "up", 2),
                ("connections", "down", 1)
            ]
        );
    }
}
