//! What gets lost on the way: acks, the end of a stream, half an update.

use super::cutter::Cutter;
use super::impatient::Impatient;
use super::proxy::{Faults, Proxy};
use super::{change, converges};
use crate::flockctl::Flockctl;
use crate::ground::Ground;
use crate::manifests::{CLUSTER, DENY, Manifests};
use crate::support::wait::wait_until;

#[test]
fn a_lost_ack_ends_the_stream_and_the_next_hello_tells() {
    let Some(ground) = Ground::new("lost-acks") else { return };
    let manifests = Manifests::new(ground.directory());
    manifests.put("cluster.yaml", CLUSTER);
    manifests.put("policies.yaml", DENY);
    let compiler = Impatient::start(manifests.path().as_ref());
    let flockctl = Flockctl::new(compiler.url.clone());
    let proxy = Proxy::start(&compiler.url);
    let _agents = [("n1", &proxy.url), ("n2", &compiler.url)].map(|(node, url)| ground.agent(node, url, &[]));
    for number in 1..3 {
        change(&manifests, number);
        converges(&ground, &flockctl, &manifests, &format!("{number}"));
    }
    // The ack of a change, and then also that of what the next hello is answered with.
    for (number, acks) in [(10, 1), (11, 2)] {
        let (streams, scripts) = (proxy.streams(), ground.scripts("n1"));
        proxy.set(Faults { lose_acks: acks, ..Faults::default() });
        change(&manifests, number);
        wait_until("other streams", || proxy.streams() >= streams + acks);
        converges(&ground, &flockctl, &manifests, &format!("{number}"));
        assert!(proxy.is_done());
        assert_eq!(ground.scripts("n1"), scripts + 1, "what stands is not applied again");
    }
    // What changes while an ack is waited for is not lost.
    let streams = proxy.streams();
    proxy.set(Faults { lose_acks: 1, ..Faults::default() });
    change(&manifests, 12);
    wait_until("the lost ack", || proxy.is_done());
    change(&manifests, 13);
    wait_until("another stream", || proxy.streams() > streams);
    converges(&ground, &flockctl, &manifests, "meanwhile");
}

#[test]
fn a_stream_that_ends_before_the_ack_is_opened_again() {
    let Some(site) = super::site("ended") else { return };
    let proxy = Proxy::start(&site.compiler.url());
    let _agents = site.agents_by_way_of(&proxy.url);
    for number in 10..13 {
        let streams = proxy.streams();
        proxy.set(Faults { end_after_update: 1, ..Faults::default() });
        site.change(number);
        wait_until("another stream", || proxy.streams() > streams);
        site.converges(&format!("{number}"));
        assert!(proxy.is_done());
    }
}

#[test]
fn an_update_that_is_cut_off_is_sent_again() {
    let Some(site) = super::site("cut") else { return };
    let cutter = Cutter::start(&site.compiler.url());
    let _agents = site.agents_by_way_of(&cutter.url);
    for (cuts, bytes) in (1..).zip([0, 1, 10, 100, 300]) {
        cutter.cut_after(bytes);
        site.change(10 + u8::try_from(cuts).unwrap());
        wait_until("the cut", || cutter.cuts() == cuts);
        site.converges(&format!("{bytes}"));
    }
}
