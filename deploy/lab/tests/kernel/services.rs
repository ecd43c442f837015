//! Service addresses, as kube-proxy makes them: translated before policy sees the packet.

use std::net::{IpAddr, SocketAddr};

use flock_lab::{Family, Pod, Probe, Protocol};

use crate::cluster::Cluster;
use crate::objects::Objects;
use crate::trials::Trials;

/// The service addresses of a pod: its own with other leading digits. Port 80 there is 8080 (TCP, SCTP) or 81 (UDP)
/// on the pod.
fn service(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [_, _, c, d] = address.octets();
            [10, 96, c, d].into()
        }
        IpAddr::V6(address) => {
            let mut parts = address.segments();
            parts[2] = 0x96;
            parts.into()
        }
    }
}

/// What a node's kube-proxy would load for services of these pods.
fn kube_proxy(pods: &[&Pod]) -> String {
    let (mut translate, mut masquerade) = (String::new(), String::new());
    for address in pods.iter().flat_map(|pod| pod.addresses()) {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let service = service(address);
        for (protocol, port) in [("tcp", 8080), ("sctp", 8080), ("udp", 81)] {
            let backend = SocketAddr::new(address, port);
            translate +=
                &format!("{family} daddr {service} {protocol} dport 80 dnat {family} to {backend}\n");
        }
        masquerade += &format!("{family} saddr {address} {family} daddr {address} masquerade\n");
    }
    format!(
        "table inet services {{
            chain before {{
                type nat hook prerouting priority dstnat
                {translate}
            }}
            chain after {{
                type nat hook postrouting priority srcnat
                {masquerade}
            }}
        }}"
    )
}

fn to_service(from: &Pod, of: &Pod) -> Vec<Probe> {
    let each = |address| {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .map(|protocol| Probe::new(from, protocol, service(address), 80))
    };
    of.addresses().into_iter().flat_map(each).collect()
}

/// web and api on node-a, db on node-b, and their services on both nodes.
fn cluster(tag: &str) -> Option<Cluster> {
    let cluster = Cluster::of(tag, &["web", "api", "db"])?;
    let pods: Vec<&Pod> = cluster.pods.iter().collect();
    for node in &cluster.nodes {
        node.nft(&kube_proxy(&pods)).unwrap();
    }
    Some(cluster)
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let Some(cluster) = cluster("hairpin") else {
        return;
    };
    let (web, api) = (cluster.pod("web"), cluster.pod("api"));
    for interfaces in ["none", "sha1:cali"] {
        let objects = Objects::of_all_members().host_interfaces(interfaces);
        cluster.enforce(&objects.with_default_deny());
        Trials::default()
            .reached("itself, although isolated both ways", to_service(web, web))
            .dropped("a neighbour", to_service(web, api))
            .dropped("a pod of the other node", to_service(web, cluster.pod("db")))
            .check();
    }
    // Masqueraded as the node: the packets left the pod and came back.
    let own = web.addresses();
    let node = [Family::V4, Family::V6].map(|family| web.node().address(family));
    let arrivals = web.arrivals();
    assert!(arrivals.len() >= 6, "{arrivals:?}");
    for arrival in arrivals {
        let from = arrival.from.ip();
        assert!(!own.contains(&from), "{arrival:?} never left the pod");
        assert!(node.contains(&from), "{arrival:?}");
    }
}

#[test]
fn a_service_is_judged_as_the_pod_behind_it() {
    let Some(cluster) = cluster("service") else {
        return;
    };
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    let objects = Objects::of_all_members()
        .with_default_deny()
        // The pod's ports.
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: web}}, egress: [{to: [{podSelector: {matchLabels: {app: api}}}], \
             ports: [{port: 8080}, {port: 81, protocol: UDP}, {port: 8080, protocol: SCTP}]}]}",
        )
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        )
        // The service's port and address, which policy never sees.
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: web}}, egress: [{to: [{ipBlock: {cidr: 10.96.0.0/16}}]}, \
             {to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 80}]}]}",
        )
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        );
    cluster.enforce(&objects);
    let through = |to: &Pod| to_service(web, to);
    Trials::default()
        .reached("the pod's port is allowed", through(api))
        .dropped("only the service's port is", through(db))
        .dropped("nothing is, the other way", to_service(api, web))
        .check();
}
