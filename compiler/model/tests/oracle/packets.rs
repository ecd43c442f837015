//! What is said of packets rather than policies: replies, errors, neighbour discovery, interfaces.

use flock_model::oracle::allowed;
use flock_model::oracle::cluster::{
    Direction::{Egress, Ingress},
    Interface,
    Protocol::Tcp,
};
use flock_model::oracle::flow::{Flow, State};

use super::build::{
    DB, OTHER, OUTSIDE, WEB, app, cluster, egress, everything, flow, icmp, pod, policy, with_pod,
};

#[test]
fn replies_related_errors_and_neighbour_discovery_pass() {
    let cluster = cluster(vec![policy(everything(), &[Ingress, Egress], None, None)]);
    let cluster = with_pod(cluster, pod("shop", "six", "n0", &["fd00::1"]));
    let in_state = |state, flow: Flow| allowed(&cluster, &Flow { state, ..flow });
    assert!(in_state(State::Reply, flow(OUTSIDE, WEB, Tcp, 80)));
    assert!(!in_state(State::Related, flow(OUTSIDE, WEB, Tcp, 80)), "of related packets errors only");
    assert!(
        in_state(State::Related, icmp(OUTSIDE, WEB, 3, 64))
            && in_state(State::Related, icmp(OUTSIDE, WEB, 11, 64))
    );
    assert!(!in_state(State::Related, icmp(OUTSIDE, WEB, 8, 64)));
    assert!(!allowed(&cluster, &icmp(OUTSIDE, WEB, 3, 64)), "an error that belongs to nothing");
    assert!(in_state(State::Related, icmp("2001:db8::1", "fd00::1", 1, 64)));
    for kind in [135, 136] {
        assert!(allowed(&cluster, &icmp("2001:db8::1", "fd00::1", kind, 255)), "{kind}");
        assert!(!allowed(&cluster, &icmp("2001:db8::1", "fd00::1", kind, 64)), "{kind}: it was forwarded");
    }
    assert!(!allowed(&cluster, &icmp(OUTSIDE, WEB, 135, 255)), "IPv4 has no neighbour discovery");
}

#[test]
fn a_packet_from_a_pods_interface_must_have_the_pods_source() {
    let mut cluster = cluster(vec![egress(app("web"), vec![])]);
    cluster.pods[2].interface = Some(Interface { name: "other", claimed: false });
    let from = |inbound, flow: Flow| allowed(&cluster, &Flow { inbound: Some(inbound), ..flow });
    assert!(from("other", flow(OTHER, DB, Tcp, 80)));
    assert!(!from("other", flow(OUTSIDE, DB, Tcp, 80)));
    assert!(!from("other", flow(DB, DB, Tcp, 80)));
    assert!(from("eth0", flow(OUTSIDE, DB, Tcp, 80)));
    assert!(!from("eth0", flow(WEB, DB, Tcp, 80)), "another entry does not take a pod's policies away");
}

#[test]
fn a_claim_to_anothers_interface_changes_nothing_for_either() {
    let mut cluster = cluster(vec![egress(app("web"), vec![])]);
    cluster.pods[0].interface = Some(Interface { name: "other", claimed: true });
    let from = |inbound, flow: Flow| allowed(&cluster, &Flow { inbound: Some(inbound), ..flow });
    assert!(from("other", flow(OTHER, DB, Tcp, 80)));
    assert!(!from("web", flow(WEB, DB, Tcp, 80)));
}
