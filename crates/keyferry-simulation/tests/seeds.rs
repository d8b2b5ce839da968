//! The promises hold in every history that is played here, and a history is a function of its seed.

use keyferry_simulation::{Summary, narrate, simulate};

#[test]
fn no_seed_breaks_a_promise() {
    let mut sum = Summary::default();
    for seed in 0..500 {
        let summary = simulate(seed).unwrap_or_else(|violation| {
            panic!(
                "seed {seed}: {violation}\n    replay: cargo xtask simulate --from {seed} --seeds 1 --trace"
            )
        });
        sum.add(&summary);
    }
    assert!(sum.power_cuts > 0 && sum.flips > 0 && sum.agent_errors > 0, "faults do not bite: {sum:?}");
    assert!(sum.agents > sum.writers && sum.dead_letters > 0 && sum.kept_away > 0, "too quiet: {sum:?}");
}

#[test]
fn one_seed_is_one_history_byte_for_byte() {
    for seed in 0..50 {
        let (first, second) = (narrate(seed), narrate(seed));
        assert!(first.0 == second.0, "seed {seed} has two traces");
        assert_eq!(first.1, second.1, "seed {seed} ends in two ways");
        assert_eq!(simulate(seed), first.1, "seed {seed} goes otherwise when nobody listens");
    }
    assert_ne!(narrate(1).0, narrate(2).0);
}
