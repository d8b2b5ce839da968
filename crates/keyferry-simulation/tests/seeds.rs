//! The promises hold in every history that is played here, and a history is a function of its seed.

use keyferry_simulation::simulate;

#[test]
fn no_seed_breaks_a_promise() {
    let mut copies = 0;
    for seed in 0..1_000 {
        let summary = simulate(seed).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        copies += summary.records.saturating_sub(summary.events);
    }
    assert!(copies > 0, "no history made the agent send anything again: the faults do not bite");
}

#[test]
fn one_seed_is_one_history() {
    for seed in [1, 7, 4_711] {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
    assert_ne!(simulate(1).map(|summary| summary.trace), simulate(2).map(|summary| summary.trace));
}
