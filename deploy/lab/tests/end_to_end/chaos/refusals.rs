//! Agents that refuse an update, or say hello with something that the compiler does not know, knows no more, or wants.

use super::proxy::{Faults, Kind, Proxy};
use crate::support::wait::wait_until;

#[test]
fn a_refused_update_is_followed_by_a_full_script() {
    let Some(site) = super::site("refusals") else { return };
    let proxy = Proxy::start(&site.compiler.url());
    let _agents = site.agents_by_way_of(&proxy.url);
    for (number, times) in [(10, 1), (11, 2)] {
        let before = proxy.seen().len();
        proxy.set(Faults { refuse: times, ..Faults::default() });
        site.change(number);
        site.converges(&format!("{number}"));
        assert!(proxy.is_done());
        let seen = proxy.seen().split_off(before);
        // What the other node revokes is to be looked at.
        let kinds = seen.iter().map(|update| update.kind).filter(|kind| *kind != Kind::Current);
        let kinds: Vec<Kind> = kinds.collect();
        let expected = [vec![Kind::Delta], vec![Kind::Full; times]].concat();
        assert_eq!(kinds, expected, "what follows a refusal applies on anything: {seen:?}");
    }
}

#[test]
fn a_hello_may_say_anything() {
    let Some(site) = super::site("hellos") else { return };
    let proxy = Proxy::start(&site.compiler.url());
    let mut agents = site.agents_by_way_of(&proxy.url);
    let stale = site.manifests.revision("n1");
    site.change(3);
    let other = site.manifests.revision("n2");
    let claims = [
        ("nothing", String::new(), false),
        ("what no compiler ever made", "0123456789abcdef0123456789abcdef".to_owned(), false),
        ("what it had before", stale.clone(), false),
        ("what another node has", other, false),
        // With no table in the kernel.
        ("what it had before, and has lost", stale, true),
    ];
    for (number, (what, claim, is_lost)) in (10..).zip(claims) {
        site.settle();
        agents[0].kill();
        wait_until("the compiler to notice", || !site.flockctl.node("n1").connected);
        if is_lost {
            site.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
        }
        // The first time with the table that is wanted, the second time with one that is not.
        for is_behind in [false, true] {
            agents[0].kill();
            wait_until("the compiler to notice", || !site.flockctl.node("n1").connected);
            if is_behind {
                site.change(number);
                site.settle_node("n2", &site.manifests.revision("n2"));
            }
            proxy.set(Faults { claim: Some(claim.clone()), ..Faults::default() });
            agents[0] = site.ground.agent("n1", &proxy.url, &[]);
            site.converges(&format!("{number}-{is_behind}"));
            assert!(proxy.is_done(), "nobody said {what}");
        }
    }
}

#[test]
fn who_claims_to_have_what_is_wanted_but_has_nothing_gets_it() {
    let Some(site) = super::site("liar") else { return };
    let proxy = Proxy::start(&site.compiler.url());
    let mut agents = site.agents_by_way_of(&proxy.url);
    agents[0].kill();
    site.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
    wait_until("the compiler to notice", || !site.flockctl.node("n1").connected);
    let claim = Some(site.manifests.revision("n1"));
    proxy.set(Faults { claim, ..Faults::default() });
    agents[0] = site.ground.agent("n1", &proxy.url, &[]);
    wait_until("the table", || site.ground.has_table("n1"));
    // The compiler hears of it a moment later.
    wait_until("its acknowledgement", || site.flockctl.node("n1").last_outcome.is_none());
    site.converges("liar");
    let seen = proxy.seen();
    let last = seen[seen.len() - 2..].iter().map(|update| update.kind).collect::<Vec<_>>();
    assert_eq!(last, [Kind::Current, Kind::Full]);
}
