//! A pod with two addresses of each family: all four are guarded, and all four are known as a peer's.

use std::net::IpAddr;

use flock_lab::{Node, Pod, PodSpec, Probe, Protocol};

use crate::cluster::Cluster;
use crate::flow::{SERVED, SERVICES};
use crate::members::member;
use crate::objects::{Objects, PodDocument};
use crate::trials::{Trials, to_pod, to_pod_at};

const ADDRESSES: [&str; 4] = ["10.244.1.20", "10.244.1.21", "fd00:10:244:1::20", "fd00:10:244:1::21"];
/// `cali` and the start of `printf shop.many | sha1sum`.
const INTERFACE: &str = "calie3acb124077";

/// Starts `many` in shop, whose `http` is 8080.
fn start(node: &Node) -> Pod {
    let spec = PodSpec {
        addresses: ADDRESSES.map(|address| address.parse().unwrap()).to_vec(),
        host_interface: Some(INTERFACE.to_owned()),
    };
    let many = node.pod_with("many", &spec).unwrap();
    many.serve(&SERVED).unwrap();
    many
}

fn objects() -> Objects {
    let many = PodDocument {
        name: "many".to_owned(),
        labels: "{app: many}".to_owned(),
        addresses: ADDRESSES.map(str::to_owned).to_vec(),
        ..PodDocument::of(member("api"))
    };
    Objects::of_all_members().host_interfaces("sha1:cali").with(&many.text())
}

/// From each of the pod's addresses to the address of `to` of its family.
fn from_each(many: &Pod, to: &Pod) -> Vec<Probe> {
    let each = |from: IpAddr| {
        let to = to.addresses().into_iter().filter(move |to| to.is_ipv4() == from.is_ipv4());
        let probe = move |to| {
            SERVICES.map(|(protocol, port)| Probe::new(many, protocol, to, port).from_address(from))
        };
        to.flat_map(probe)
    };
    many.addresses().into_iter().flat_map(each).collect()
}

#[test]
fn every_address_is_guarded_and_every_address_is_a_peer() {
    let Some(cluster) = Cluster::of("two-addresses", &["web", "db", "teller"]) else {
        return;
    };
    let many = start(&cluster.nodes[0]);
    let (web, db, teller) = (cluster.pod("web"), cluster.pod("db"), cluster.pod("teller"));
    cluster.enforce(
        &objects()
            .with_policy("shop", "{podSelector: {matchLabels: {app: many}}, policyTypes: [Ingress, Egress]}"),
    );
    Trials::default()
        .dropped("in, on one node", to_pod(web, &many))
        .dropped("in, across nodes", to_pod(db, &many))
        .dropped("out, on one node", from_each(&many, web))
        .dropped("out, across nodes", from_each(&many, db))
        .check();

    cluster.enforce(
        &objects()
            .with_policy(
                "shop",
                "{podSelector: {matchLabels: {tier: back}}, ingress: [{from: [{podSelector: {matchLabels: {app: many}}}]}]}",
            )
            .with_policy(
                "bank",
                "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}, \
                 podSelector: {matchLabels: {app: many}}}], ports: [{port: http}]}]}",
            ),
    );
    let (http, other): (Vec<_>, Vec<_>) =
        SERVICES.into_iter().partition(|service| *service == (Protocol::Tcp, 8080));
    Trials::default()
        .reached("a source that is a peer", from_each(&many, db))
        .dropped("one that is none", to_pod(web, db))
        .reached("a destination by the name of its port", to_pod_at(teller, &many, &http))
        .dropped("other ports", to_pod_at(teller, &many, &other))
        .dropped("other destinations", to_pod_at(teller, web, &http))
        .check();
}

/// A service of the pod may lead from one of its addresses to another.
#[test]
fn it_reaches_itself_across_its_addresses() {
    let Some(cluster) = Cluster::of("across", &[]) else {
        return;
    };
    let many = start(&cluster.nodes[0]);
    let nat = |family: &str, service: &str, to: &str| {
        format!(
            "add rule inet services before {family} daddr {service} dnat {family} to {to}\n\
             add rule inet services after {family} daddr {to} masquerade\n"
        )
    };
    let services = "add table inet services\n\
         add chain inet services before { type nat hook prerouting priority dstnat; }\n\
         add chain inet services after { type nat hook postrouting priority srcnat; }\n"
        .to_owned()
        + &nat("ip", "10.96.0.1", ADDRESSES[1])
        + &nat("ip6", "fd00:96::1", ADDRESSES[3]);
    cluster.nodes[0].nft(&services).unwrap();
    cluster.enforce(&objects().with_default_deny());
    let probe = |to: &str, from: &str| {
        let (to, from) = (to.parse().unwrap(), from.parse().unwrap());
        SERVICES.map(|(protocol, port)| Probe::new(&many, protocol, to, port).from_address(from))
    };
    Trials::default()
        .reached("over v4", probe("10.96.0.1", ADDRESSES[0]))
        .reached("over v6", probe("fd00:96::1", ADDRESSES[2]))
        .check();
}
