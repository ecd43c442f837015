//! Tests of who is found to have changed the table.

use super::*;
use crate::event::tests::{generation, object, table};

const OWN_PORT: u32 = 7;
const OTHER_PORT: u32 = 8;

fn ours() -> Vec<u8> {
    object(1, "flock_netpol")
}

fn others() -> Vec<u8> {
    object(1, "kube-proxy")
}

fn news(number: u32) -> Vec<u8> {
    generation(number, OTHER_PORT)
}

fn answer(number: u32) -> Vec<u8> {
    generation(number, OWN_PORT)
}

/// At generation 10.
fn generations() -> Generations {
    let mut generations = Generations::new(OWN_PORT);
    assert!(generations.is_torn() && !generations.has_begun());
    generations.hear(&answer(10));
    assert!(!generations.is_torn() && generations.has_begun());
    assert_eq!(generations.settle(0), Observation::Undisturbed);
    generations
}

fn heard(datagrams: &[Vec<u8>], own: u32) -> Observation {
    let mut generations = generations();
    datagrams.iter().for_each(|datagram| generations.hear(datagram));
    generations.settle(own)
}

#[test]
fn one_generation_of_ours_for_each_script_of_ours() {
    assert_eq!(heard(&[], 0), Observation::Undisturbed);
    assert_eq!(heard(&[ours(), ours(), news(11)], 1), Observation::Undisturbed);
    assert_eq!(heard(&[ours(), news(11)], 0), Observation::Edited);
    assert_eq!(heard(&[ours(), news(11), ours(), news(12)], 1), Observation::Edited);
    assert_eq!(heard(&[], 1), Observation::Blind);
    assert_eq!(heard(&[others(), news(11)], 1), Observation::Blind);
}

#[test]
fn a_table_that_somebody_takes_away_is_gone_until_it_comes_back() {
    let gone = || table(1, "flock_netpol", true);
    let made = || table(1, "flock_netpol", false);
    assert_eq!(heard(&[gone(), news(11)], 0), Observation::Gone);
    assert_eq!(heard(&[ours(), news(11), gone(), ours(), news(12)], 1), Observation::Gone);
    assert_eq!(heard(&[table(7, "flock_netpol", true), news(11)], 0), Observation::Gone);
    assert_eq!(heard(&[gone(), made(), ours(), news(11)], 0), Observation::Edited, "replaced");
    assert_eq!(heard(&[gone(), news(11), made(), news(12)], 0), Observation::Edited);
    assert_eq!(
        heard(&[table(7, "flock_netpol", true), ours(), news(11)], 1),
        Observation::Undisturbed,
        "by us"
    );
    assert_eq!(heard(&[table(1, "kube-proxy", true), news(11)], 0), Observation::Undisturbed);
}

#[test]
fn other_tables_are_nothing_to_us() {
    assert_eq!(heard(&[others(), news(11), others(), others(), news(12)], 0), Observation::Undisturbed);
    assert_eq!(
        heard(&[others(), news(11), ours(), news(12), others(), news(13)], 1),
        Observation::Undisturbed
    );
    assert_eq!(heard(&[others(), ours(), news(11)], 0), Observation::Edited, "both in one transaction");
}

#[test]
fn a_transaction_counts_when_it_is_told_to_its_end() {
    let mut generations = generations();
    generations.hear(&ours());
    assert_eq!(generations.settle(0), Observation::Undisturbed);
    generations.hear(&news(11));
    assert_eq!(generations.settle(0), Observation::Edited);
    assert_eq!(generations.settle(0), Observation::Undisturbed, "told once");
}

#[test]
fn what_was_not_heard_is_missing() {
    assert_eq!(heard(&[others(), news(12)], 0), Observation::Unknown);
    assert_eq!(heard(&[answer(11)], 0), Observation::Unknown);
    assert_eq!(heard(&[answer(11)], 1), Observation::Undisturbed, "it can only be ours");
    assert_eq!(heard(&[answer(12)], 1), Observation::Unknown);
    assert_eq!(heard(&[ours(), news(11), answer(12)], 1), Observation::Unknown);
    assert_eq!(heard(&[ours(), news(11), ours(), news(12), answer(13)], 1), Observation::Edited);
    assert_eq!(heard(&[b"garbled".to_vec(), others(), news(11)], 0), Observation::Unknown);
}

#[test]
fn a_transaction_of_which_a_part_was_lost_may_have_touched_us() {
    for (rest, own, observation) in [
        (vec![others(), news(11)], 0, Observation::Unknown),
        (vec![ours(), news(11)], 0, Observation::Edited),
        (vec![others(), news(11)], 1, Observation::Undisturbed),
        (vec![answer(10)], 0, Observation::Undisturbed),
    ] {
        let mut generations = generations();
        generations.hear(&others());
        generations.missed();
        rest.iter().for_each(|datagram| generations.hear(datagram));
        assert_eq!(generations.settle(own), observation, "{rest:?}");
    }
}

#[test]
fn without_an_answer_it_stays_unknown() {
    let mut generations = generations();
    generations.missed();
    assert_eq!(generations.settle(0), Observation::Unknown);
    assert!(generations.is_torn());
    generations.hear(&answer(10));
    assert_eq!(generations.settle(0), Observation::Undisturbed);
}

#[test]
fn what_is_told_after_an_answer_that_counts_it_is_no_further_generation() {
    let mut generations = generations();
    generations.missed();
    generations.hear(&answer(11));
    assert_eq!(generations.settle(0), Observation::Unknown);
    generations.hear(&[others(), news(11)].concat());
    assert_eq!(generations.settle(0), Observation::Undisturbed);
    generations.hear(&[ours(), news(12)].concat());
    assert_eq!(generations.settle(1), Observation::Undisturbed);
}

#[test]
fn numbers_go_round() {
    let mut generations = Generations::new(OWN_PORT);
    generations.hear(&answer(u32::MAX));
    generations.hear(&[ours(), news(0)].concat());
    assert_eq!(generations.settle(1), Observation::Undisturbed);
}
