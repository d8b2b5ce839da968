//! Which connection a key goes to.
//!
//! The hash is the one by which Kafka's partitioner chooses a partition. The connections of a generation so share the partitions among themselves as well, wherever their
//! number divides that of the partitions: each fills batches for its own partitions, instead of all of them filling half-empty ones for all.

/// The connection of `of` ones to which `key` belongs.
pub(crate) fn shard(key: &[u8], of: usize) -> usize {
    if of <= 1 {
        return 0;
    }
    // Kafka makes the hash positive by dropping its sign.
    (murmur2(key) & 0x7fff_ffff) as usize % of
}

/// Austin Appleby's MurmurHash2 with Kafka's seed, as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Keys are far shorter than 4 GiB; the length is only mixed in.
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ k >> 24).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest`.
    #[test]
    fn the_hash_is_kafkas() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn keys_spread_over_all_connections() {
        for of in 1..=8 {
            let mut counts = vec![0; of];
            for key in 0..8_000 {
                counts[shard(format!("user-{key}").as_bytes(), of)] += 1;
            }
            let fair = 8_000 / of;
            assert!(
                counts.iter().all(|count| (fair * 8 / 10..=fair * 12 / 10).contains(count)),
                "{counts:?}"
            );
        }
    }
}
