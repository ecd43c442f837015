//! Tests of who is found to have changed the table.

use super::*;
use crate::notice::tests::{generation, object, table};

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
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(OWN_PORT);
    assert!(ledger.is_torn() && !ledger.has_begun());
    ledger.hear(&answer(10));
    assert!(!ledger.is_torn() && ledger.has_begun());
    assert_eq!(ledger.settle(0), Sight::Undisturbed);
    ledger
}

fn heard(datagrams: &[Vec<u8>], own: u32) -> Sight {
    let mut ledger = ledger();
    datagrams.iter().for_each(|datagram| ledger.hear(datagram));
    ledger.settle(own)
}

#[test]
fn one_generation_of_ours_for_each_script_of_ours() {
    assert_eq!(heard(&[], 0), Sight::Undisturbed);
    assert_eq!(heard(&[ours(), ours(), news(11)], 1), Sight::Undisturbed);
    assert_eq!(heard(&[ours(), news(11)], 0), Sight::Edited);
    assert_eq!(heard(&[ours(), news(11), ours(), news(12)], 1), Sight::Edited);
    assert_eq!(heard(&[], 1), Sight::Blind);
    assert_eq!(heard(&[others(), news(11)], 1), Sight::Blind);
}

#[test]
fn a_table_that_somebody_takes_away_is_gone_until_it_comes_back() {
    let gone = || table(1, "flock_netpol", true);
    let made = || table(1, "flock_netpol", false);
    assert_eq!(heard(&[gone(), news(11)], 0), Sight::Gone);
    assert_eq!(heard(&[ours(), news(11), gone(), ours(), news(12)], 1), Sight::Gone);
    assert_eq!(heard(&[table(7, "flock_netpol", true), news(11)], 0), Sight::Gone);
    assert_eq!(heard(&[gone(), made(), ours(), news(11)], 0), Sight::Edited, "replaced");
    assert_eq!(heard(&[gone(), news(11), made(), news(12)], 0), Sight::Edited);
    assert_eq!(heard(&[table(7, "flock_netpol", true), ours(), news(11)], 1), Sight::Undisturbed, "by us");
    assert_eq!(heard(&[table(1, "kube-proxy", true), news(11)], 0), Sight::Undisturbed);
}

#[test]
fn other_tables_are_nothing_to_us() {
    assert_eq!(heard(&[others(), news(11), others(), others(), news(12)], 0), Sight::Undisturbed);
    assert_eq!(heard(&[others(), news(11), ours(), news(12), others(), news(13)], 1), Sight::Undisturbed);
    assert_eq!(heard(&[others(), ours(), news(11)], 0), Sight::Edited, "both in one transaction");
}

#[test]
fn a_transaction_counts_when_it_is_told_to_its_end() {
    let mut ledger = ledger();
    ledger.hear(&ours());
    assert_eq!(ledger.settle(0), Sight::Undisturbed);
    ledger.hear(&news(11));
    assert_eq!(ledger.settle(0), Sight::Edited);
    assert_eq!(ledger.settle(0), Sight::Undisturbed, "told once");
}

#[test]
fn what_was_not_heard_is_missing() {
    assert_eq!(heard(&[others(), news(12)], 0), Sight::Unknown);
    assert_eq!(heard(&[answer(11)], 0), Sight::Unknown);
    assert_eq!(heard(&[answer(11)], 1), Sight::Undisturbed, "it can only be ours");
    assert_eq!(heard(&[answer(12)], 1), Sight::Unknown);
    assert_eq!(heard(&[ours(), news(11), answer(12)], 1), Sight::Unknown);
    assert_eq!(heard(&[ours(), news(11), ours(), news(12), answer(13)], 1), Sight::Edited);
    assert_eq!(heard(&[b"garbled".to_vec(), others(), news(11)], 0), Sight::Unknown);
}

#[test]
fn a_transaction_of_which_a_part_was_lost_may_have_touched_us() {
    for (rest, own, sight) in [
        (vec![others(), news(11)], 0, Sight::Unknown),
        (vec![ours(), news(11)], 0, Sight::Edited),
        (vec![others(), news(11)], 1, Sight::Undisturbed),
        (vec![answer(10)], 0, Sight::Undisturbed),
    ] {
        let mut ledger = ledger();
        ledger.hear(&others());
        ledger.missed();
        rest.iter().for_each(|datagram| ledger.hear(datagram));
        assert_eq!(ledger.settle(own), sight, "{rest:?}");
    }
}

#[test]
fn without_an_answer_it_stays_unknown() {
    let mut ledger = ledger();
    ledger.missed();
    assert_eq!(ledger.settle(0), Sight::Unknown);
    assert!(ledger.is_torn());
    ledger.hear(&answer(10));
    assert_eq!(ledger.settle(0), Sight::Undisturbed);
}

#[test]
fn what_is_told_after_an_answer_that_counts_it_is_no_further_generation() {
    let mut ledger = ledger();
    ledger.missed();
    ledger.hear(&answer(11));
    assert_eq!(ledger.settle(0), Sight::Unknown);
    ledger.hear(&[others(), news(11)].concat());
    assert_eq!(ledger.settle(0), Sight::Undisturbed);
    ledger.hear(&[ours(), news(12)].concat());
    assert_eq!(ledger.settle(1), Sight::Undisturbed);
}

#[test]
fn numbers_go_round() {
    let mut ledger = Ledger::new(OWN_PORT);
    ledger.hear(&answer(u32::MAX));
    ledger.hear(&[ours(), news(0)].concat());
    assert_eq!(ledger.settle(1), Sight::Undisturbed);
}
