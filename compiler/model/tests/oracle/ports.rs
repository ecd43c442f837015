//! Ports by number, range, protocol and name.

use flock_model::oracle::allowed;
use flock_model::oracle::cluster::{
    PortNumber,
    Protocol::{Sctp, Tcp, Udp},
};
use flock_model::oracle::flow::{Flow, Transport};

use super::build::{
    DB, OTHER, OUTSIDE, WEB, address, app, block, cluster, egress, everything, flow, icmp, ingress,
    of_namespaces, port, rule, tcp, with_port,
};

#[test]
fn ports_by_number_range_and_protocol() {
    let ports = vec![
        port(Tcp, PortNumber::Number(80)),
        port(Tcp, PortNumber::Range(8080, 8082)),
        port(Udp, PortNumber::All),
        port(Sctp, PortNumber::Range(65534, 65535)),
    ];
    let cluster = cluster(vec![ingress(app("web"), vec![rule(vec![], ports)])]);
    for (protocol, number, expected) in [
        (Tcp, 79, false),
        (Tcp, 80, true),
        (Tcp, 81, false),
        (Tcp, 8079, false),
        (Tcp, 8080, true),
        (Tcp, 8081, true),
        (Tcp, 8082, true),
        (Tcp, 8083, false),
        (Udp, 0, true),
        (Udp, 65535, true),
        (Sctp, 80, false),
        (Sctp, 65533, false),
        (Sctp, 65534, true),
        (Sctp, 65535, true),
    ] {
        assert_eq!(allowed(&cluster, &flow(OUTSIDE, WEB, protocol, number)), expected, "{protocol} {number}");
    }
    assert!(!allowed(&cluster, &icmp(OUTSIDE, WEB, 8, 64)), "ICMP matches rules without ports only");
    assert!(!allowed(&cluster, &Flow::first(address(OUTSIDE), address(WEB), Transport::Other(47))));
}

#[test]
fn named_ports_of_ingress_are_those_of_each_selected_pod() {
    let rules = || vec![rule(vec![], vec![port(Tcp, PortNumber::Name("http"))])];
    let cluster = cluster(vec![ingress(everything(), rules())]);
    let cluster = with_port(with_port(cluster, "web", "http", Tcp, 80), "db", "http", Tcp, 8080);
    let cluster = with_port(with_port(cluster, "web", "http", Udp, 81), "other", "http", Tcp, 82);
    assert!(tcp(&cluster, OUTSIDE, WEB, 80) && tcp(&cluster, OUTSIDE, DB, 8080));
    assert!(!tcp(&cluster, OUTSIDE, WEB, 8080) && !tcp(&cluster, OUTSIDE, DB, 80));
    assert!(!tcp(&cluster, OUTSIDE, WEB, 81), "the name is of another protocol's port");
    assert!(!tcp(&cluster, OTHER, WEB, 82), "the source's ports say nothing");
}

#[test]
fn named_ports_of_egress_are_the_destinations_however_it_is_reached() {
    for peers in [vec![], vec![block("0.0.0.0/0", &[])], vec![of_namespaces(everything())]] {
        let http = vec![port(Tcp, PortNumber::Name("http"))];
        let cluster = cluster(vec![egress(app("web"), vec![rule(peers, http)])]);
        let cluster = with_port(with_port(cluster, "db", "http", Tcp, 8080), "other", "http", Tcp, 80);
        assert!(tcp(&cluster, WEB, DB, 8080) && tcp(&cluster, WEB, OTHER, 80));
        assert!(!tcp(&cluster, WEB, DB, 80) && !tcp(&cluster, WEB, OTHER, 8080));
        assert!(!tcp(&cluster, WEB, OUTSIDE, 80), "no pod, no name");
    }
}

#[test]
fn one_name_may_stand_for_several_numbers() {
    let cluster =
        cluster(vec![ingress(app("web"), vec![rule(vec![], vec![port(Tcp, PortNumber::Name("http"))])])]);
    let cluster = with_port(with_port(cluster, "web", "http", Tcp, 80), "web", "http", Tcp, 8080);
    assert!(tcp(&cluster, OUTSIDE, WEB, 80) && tcp(&cluster, OUTSIDE, WEB, 8080));
}

#[test]
fn egress_to_dns_only() {
    let dns = vec![port(Udp, PortNumber::Number(53)), port(Tcp, PortNumber::Number(53))];
    let cluster = cluster(vec![egress(everything(), vec![rule(vec![of_namespaces(everything())], dns)])]);
    assert!(allowed(&cluster, &flow(WEB, OTHER, Udp, 53)) && tcp(&cluster, WEB, OTHER, 53));
    assert!(!tcp(&cluster, WEB, OTHER, 80));
    assert!(!allowed(&cluster, &flow(WEB, OUTSIDE, Udp, 53)));
}
