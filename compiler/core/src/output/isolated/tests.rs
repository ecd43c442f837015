//! Edits of isolated pods against isolated pods that are built at once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::output::Isolation;

fn entry((number, closed): (&u8, &bool)) -> Entry {
    let of = |closed| if closed { Isolation::Closed } else { Isolation::Open };
    let address = Ipv4Addr::from(u32::from(*number)).into();
    (address, IsolatedPod::new(of(*closed), of(!*closed), Box::default()))
}

proptest::proptest! {
    #[test]
    fn edits_lead_to_the_subjects_that_are_built_at_once(
        first in proptest::collection::btree_map(0u8.., proptest::bool::ANY, 0..120),
        edits in proptest::collection::btree_map(0u8.., proptest::option::of(proptest::bool::ANY), 0..20),
    ) {
        let before: IsolatedPods = first.iter().map(entry).collect();
        let mut model: BTreeMap<u8, bool> = first.clone();
        for (number, edit) in &edits {
            match edit {
                Some(closed) => _ = model.insert(*number, *closed),
                None => _ = model.remove(number),
            }
        }
        let list: Vec<_> = edits
            .iter()
            .map(|(number, edit)| {
                (entry((number, &false)).0, edit.map(|closed| entry((number, &closed)).1))
            })
            .collect();
        let after = before.edited(list);
        let at_once: IsolatedPods = model.iter().map(entry).collect();
        proptest::prop_assert_eq!(&after, &at_once);
        proptest::prop_assert_eq!(digest(&after), digest(&at_once));
        proptest::prop_assert_eq!(after.len(), model.len());
        let differ: Vec<_> =
            before.unshared(&after).filter(|(_, old, new)| old != new).map(|(at, ..)| at).collect();
        let expected = edits.keys().filter(|number| first.get(number) != model.get(number));
        proptest::prop_assert_eq!(differ, expected.map(|n| entry((n, &false)).0).collect::<Vec<_>>());
        for number in edits.keys() {
            let (address, pod) = entry((number, model.get(number).unwrap_or(&false)));
            let expected = model.contains_key(number).then_some(&pod);
            proptest::prop_assert_eq!(after.get(&address), expected);
        }
    }
}

fn digest(isolated: &IsolatedPods) -> Identity {
    let mut digest = Digest::new();
    isolated.identify(&mut digest);
    digest.finish()
}

proptest::proptest! {
    #[test]
    fn subjects_that_are_laid_over_others_are_those_that_would_be_there(
        addresses in 1u8..60,
        history in proptest::collection::vec(proptest::collection::btree_map(
            0u8..60, proptest::option::weighted(0.97, proptest::bool::ANY), 1..5), 1..20),
    ) {
        let first: BTreeMap<u8, bool> = (0..addresses).map(|number| (number, false)).collect();
        let at_first: IsolatedPods = first.iter().map(entry).collect();
        let (mut model, mut isolated) = (first.clone(), at_first.clone());
        for edits in history {
            // Addresses seldom come or go.
            let edits = edits.into_iter().filter(|(number, edit)| edit.is_none() || model.contains_key(number));
            let edits: BTreeMap<u8, Option<bool>> = edits.collect();
            let list: Vec<IsolationEdit> = edits
                .iter()
                .map(|(number, edit)| (entry((number, &false)).0, edit.map(|it| entry((number, &it)).1)))
                .collect();
            isolated = isolated.edited(list);
            for (number, edit) in edits {
                match edit {
                    Some(closed) => _ = model.insert(number, closed),
                    None => _ = model.remove(&number),
                }
            }
            let at_once: IsolatedPods = model.iter().map(entry).collect();
            proptest::prop_assert_eq!(&isolated, &at_once);
            proptest::prop_assert_eq!(digest(&isolated), digest(&at_once));
            proptest::prop_assert_eq!(isolated.len(), model.len());
            proptest::prop_assert!(isolated.newer.len() <= LAID_OVER);
            proptest::prop_assert_eq!(isolated.matching(|_| true).count(), model.len());
            let closed = |isolated: &IsolatedPods| {
                isolated.matching(|_| true).filter(|it| it.ingress == Isolation::Closed).count()
            };
            proptest::prop_assert_eq!(closed(&isolated), closed(&at_once));
            for number in 0..60 {
                let expected = model.get_key_value(&number).map(|it| entry(it).1);
                proptest::prop_assert_eq!(isolated.get(&entry((&number, &false)).0), expected.as_ref());
            }
            let unshared = at_first.unshared(&isolated).filter(|(_, old, new)| old != new);
            let differ = (0..60).filter(|number| first.get(number) != model.get(number));
            proptest::prop_assert!(unshared.map(|(at, ..)| at).eq(differ.map(|it| entry((&it, &false)).0)));
        }
    }
}

#[test]
fn chunks_hold_a_few_addresses_of_either_family_as_nodes_count_them_up() {
    let closed = || IsolatedPod::new(Isolation::Closed, Isolation::Open, Box::default());
    let v4 = |number: u32| IpAddr::from(Ipv4Addr::from(0x0af4_0100 + number));
    let v6 = |number: u32| IpAddr::from(Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(number)));
    for isolated in [
        (0..1000).map(|number| (v4(number), closed())).collect::<IsolatedPods>(),
        (0..1000).map(|number| (v6(number), closed())).collect::<IsolatedPods>(),
    ] {
        assert!((200..=320).contains(&isolated.chunks.len()), "{} chunks", isolated.chunks.len());
        let longest = isolated.chunks.iter().map(|chunk| chunk.entries.len()).max();
        assert!(longest < Some(40), "{longest:?}");
    }
}

#[test]
#[should_panic(expected = "a broken invariant: 0.0.0.9 is edited in its place, and has none or goes")]
fn an_edit_that_has_no_place_is_loud() {
    let isolated: IsolatedPods = [entry((&1, &true))].into_iter().collect();
    let (address, pod) = entry((&9, &true));
    let _ = isolated.replaced(&mut [(address, Some(pod))]);
}
