//! Interfaces known: a packet that enters from a pod's interface with a source that is not the pod's is dropped,
//! whatever policies say, and also where it poses as the reply of somebody else's connection.

use std::net::{IpAddr, SocketAddr};

use flock_lab::{Pod, Probe, Protocol, probe_all};

use crate::cluster::Cluster;
use crate::flow::SERVICES;
use crate::members::{MEMBERS, member};
use crate::objects::{Objects, PodDocument};
use crate::sockets::{receive, udp};

/// The members, with what `--host-iface` can know of them, and whether it lets nodes see through forgery.
fn ways_to_know() -> [(Objects, bool); 3] {
    let annotated = MEMBERS.iter().fold(Objects::without_pods(), |objects, member| {
        let annotation = format!("annotations: {{example.org/veth: {}}}", member.interface);
        let pod = PodDocument { metadata: annotation, ..PodDocument::of(member) };
        objects.with(&pod.text())
    });
    [
        (Objects::of_all_members(), false),
        (Objects::of_all_members().host_interfaces("sha1:cali"), true),
        (annotated.host_interfaces("annotation:example.org/veth"), true),
    ]
}

#[test]
fn a_forged_source_is_dropped() {
    // teller is on the forger's node, vault on the other; neither is isolated.
    let Some(cluster) = Cluster::of("forged", &["web", "api", "db", "teller", "vault"]) else {
        return;
    };
    let (web, teller, vault) = (cluster.pod("web"), cluster.pod("teller"), cluster.pod("vault"));
    let mut forged: Vec<IpAddr> =
        ["api", "db"].into_iter().flat_map(|name| member(name).addresses()).collect();
    // Of nobody, on no network and on that of the nodes.
    let others = ["10.99.0.1", "fd00:99::1", "172.18.0.9", "fd00:18::9"];
    forged.extend(others.map(|address| address.parse::<IpAddr>().unwrap()));
    for &address in &forged {
        web.add_address(address).unwrap();
    }
    for (number, (objects, sees_through)) in ways_to_know().into_iter().enumerate() {
        // web may send nothing: with a source of its own this is how it would get out all the same.
        let objects =
            objects.with_policy("shop", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}");
        cluster.enforce(&objects);
        let before = [teller, vault].map(|target| target.arrivals().len());
        let mut probes = Vec::new();
        for &from in &forged {
            for to in [teller, vault].into_iter().flat_map(|target| target.addresses()) {
                if to.is_ipv4() == from.is_ipv4() {
                    let probe = |protocol| Probe::new(web, protocol, to, 80).from_address(from);
                    probes.extend([Protocol::Udp, Protocol::Sctp].map(probe));
                }
            }
        }
        // No answer finds the way back: what counts is what arrives.
        probe_all(&probes).unwrap();
        for (target, before) in [teller, vault].into_iter().zip(before) {
            let arrived = &target.arrivals()[before..];
            for &from in &forged {
                let found = arrived.iter().any(|arrival| arrival.from.ip() == from);
                assert_eq!(found, !sees_through, "{from} at {}, way {number}", target.name());
            }
        }
    }
}

#[test]
fn a_forged_reply_is_dropped() {
    let Some(cluster) = Cluster::of("forged-reply", &["web", "db", "teller", "vault"]) else {
        return;
    };
    let (web, teller) = (cluster.pod("web"), cluster.pod("teller"));
    // teller is isolated both ways and may ask db and vault, which are on the other node.
    let allow = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], \
                 egress: [{to: [{namespaceSelector: {}}], ports: [{port: 80, protocol: UDP}]}]}";
    // The forger needs the port itself.
    web.stop_serving();
    for name in ["db", "vault"] {
        for address in member(name).addresses() {
            web.add_address(address).unwrap();
        }
    }
    for (number, (objects, sees_through)) in ways_to_know().into_iter().enumerate() {
        cluster.enforce(&objects.with_policy("bank", allow));
        for name in ["db", "vault"] {
            for (own, peer) in teller.addresses().into_iter().zip(member(name).addresses()) {
                let asker = udp(teller, own, 0);
                asker.connect((peer, 80)).unwrap();
                asker.send(b"?").unwrap();
                assert_eq!(receive(&asker).unwrap(), b"?", "the connection stands");
                forge(web, SocketAddr::new(peer, 80), asker.local_addr().unwrap());
                // The next honest answer takes longer than the forged one, if that passes.
                asker.send(b"+").unwrap();
                let mut answers = Vec::new();
                let has = |answers: &[Vec<u8>], answer: &[u8]| answers.iter().any(|found| found == answer);
                while !has(&answers, b"+") || !(sees_through || has(&answers, b"!")) {
                    answers.push(receive(&asker).expect("what passes arrives"));
                }
                assert_eq!(has(&answers, b"!"), !sees_through, "{peer}, way {number}");
            }
        }
    }
}

/// Sends `!` with a source that is somebody else's.
fn forge(forger: &Pod, source: SocketAddr, to: SocketAddr) {
    udp(forger, source.ip(), source.port()).send_to(b"!", to).unwrap();
}

#[test]
fn honest_pods_notice_nothing() {
    let Some(cluster) = Cluster::of_all_members("honest") else {
        return;
    };
    for (number, (objects, _)) in ways_to_know().into_iter().enumerate() {
        let objects = objects.with_policy(
            "shop",
            "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}]}], \
             egress: [{ports: [{port: http}]}]}",
        );
        cluster.enforce(&objects);
        let wrong = cluster.wrong(&SERVICES, |flow| {
            let http = match flow.to.name {
                "web" | "teller" => flow.at(Protocol::Tcp, 80),
                "api" | "cache" | "laptop" => flow.at(Protocol::Tcp, 8080),
                "robot" => flow.at(Protocol::Tcp, 80) || flow.at(Protocol::Tcp, 8080),
                _ => false,
            };
            match (flow.from.namespace, flow.to.namespace) {
                ("shop", _) => http,
                (_, "shop") => false,
                _ => true,
            }
        });
        assert_eq!(wrong, Vec::<String>::new(), "way {number}");
    }
}
