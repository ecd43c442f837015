//! Markers along walks between states, in the model and in words.

use flock_shared::{SUPERSEDED_LIMIT, ScriptHash};

use super::*;

fn revision(number: usize) -> Revision {
    Revision::of(ScriptHash::of(&number.to_be_bytes()))
}

/// A table, and what its compiler knows of it.
struct Walk {
    at: Revision,
    superseded: Superseded,
    markers: Markers,
}

impl Walk {
    fn new() -> Self {
        let at = revision(0);
        Self { markers: Markers::full(&at), superseded: Superseded::default(), at }
    }

    /// Goes on by a delta; its end.
    fn to(&mut self, number: usize, deletes: bool) -> String {
        let end = End::of(deletes, &self.at, &revision(number), &self.superseded);
        self.markers.apply(&end).unwrap();
        (self.at, self.superseded) = (revision(number), end.superseded());
        let (stands, left) = self.markers.sorted();
        assert_eq!(stands, [&self.at]);
        let mut known: Vec<_> = self.superseded.iter().collect();
        known.sort();
        assert_eq!(left, known, "what is left is known");
        end.write()
    }
}

#[test]
fn what_only_adds_deletes_no_marker_until_there_are_too_many() {
    let mut walk = Walk::new();
    for number in 1..=SUPERSEDED_LIMIT {
        let end = walk.to(number, false);
        assert!(!end.contains("delete"), "{end}");
        assert_eq!(walk.superseded.len(), number);
    }
    let sweep = walk.to(99, false);
    assert_eq!(sweep.matches("delete set").count(), SUPERSEDED_LIMIT + 1, "{sweep}");
    assert!(walk.superseded.is_empty());
}

#[test]
fn what_deletes_anyway_sweeps() {
    let mut walk = Walk::new();
    walk.to(1, false);
    walk.to(2, false);
    let [first, second, third] = [0, 1, 2].map(revision);
    let four = revision(4);
    let expected = format!(
        "add chain inet flock_netpol past_{first}\n\
         delete chain inet flock_netpol past_{first}\n\
         add set inet flock_netpol rev_{first} {{ typeof ip saddr; }}\n\
         delete set inet flock_netpol rev_{first}\n\
         add chain inet flock_netpol past_{second}\n\
         delete chain inet flock_netpol past_{second}\n\
         add set inet flock_netpol rev_{second} {{ typeof ip saddr; }}\n\
         delete set inet flock_netpol rev_{second}\n\
         delete set inet flock_netpol rev_{third}\n\
         add set inet flock_netpol rev_{four} {{ typeof ip saddr; }}\n"
    );
    assert_eq!(walk.to(4, true), expected);
}

#[test]
fn what_only_adds_says_so() {
    let [base, next] = [0, 1].map(revision);
    let expected = format!(
        "create chain inet flock_netpol past_{base}\n\
         add rule inet flock_netpol past_{base} ip saddr @rev_{base}\n\
         add set inet flock_netpol rev_{next} {{ typeof ip saddr; }}\n"
    );
    assert_eq!(Walk::new().to(1, false), expected);
}

#[test]
fn a_state_that_comes_back_sweeps_its_own_marker() {
    let mut walk = Walk::new();
    walk.to(1, false);
    walk.to(0, false);
    assert!(walk.superseded.is_empty());
    walk.to(1, false);
    walk.to(0, true);
    assert!(walk.superseded.is_empty());
}

#[test]
fn a_base_that_does_not_stand_is_refused_however_it_ends() {
    for deletes in [false, true] {
        let mut walk = Walk::new();
        let late = End::of(deletes, &revision(0), &revision(5), &Superseded::default());
        walk.to(1, false);
        assert_eq!(walk.markers.apply(&late), Err(ApplyError::Base(revision(0))), "the table has gone on");
        walk.to(2, true);
        assert_eq!(walk.markers.apply(&late), Err(ApplyError::Base(revision(0))), "it is not there");
    }
}

#[test]
fn what_is_believed_wrongly_refuses_or_does_no_harm() {
    let believed = Superseded::new([7, 0, 8].map(revision).into()).unwrap();
    for deletes in [false, true] {
        let end = End::of(deletes, &revision(0), &revision(1), &believed);
        let mut markers = Markers::full(&revision(0));
        markers.apply(&end).unwrap();
        assert_eq!(markers, Markers::full(&revision(1)));
    }
}
