//! ICMP: echo needs a rule without ports, errors about allowed flows pass without one.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use flock_lab::{Pod, Probe, Protocol, patient};
use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use socket2::SockRef;

use crate::cluster::Cluster;
use crate::objects::Objects;
use crate::rows::{Row, check};
use crate::sockets::{PATIENCE, receive, udp};
use crate::trials::Trials;

#[test]
fn echo_needs_a_rule_without_ports() {
    check(
        "echo",
        &[Row {
            what: "any port of any protocol is not yet echo",
            policies: &[(
                "shop",
                "{podSelector: {}, policyTypes: [Ingress, Egress], \
                     ingress: [{ports: [{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]}, \
                     {from: [{podSelector: {matchLabels: {app: web}}}]}], \
                     egress: [{ports: [{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]}, \
                     {to: [{podSelector: {matchLabels: {tier: back}}}]}]}",
            )],
            allowed: |flow| {
                let sent = flow.from.namespace != "shop" || flow.is_to(&["api", "db"]);
                let let_in = flow.to.namespace != "shop" || flow.is_from(&["web"]);
                flow.protocol != Protocol::IcmpEcho || (sent && let_in)
            },
        }],
    );
}

/// Default deny everywhere; web may ask api and db over UDP, and on TCP 9000.
fn objects() -> Objects {
    let ports = "ports: [{protocol: UDP}, {port: 9000}]";
    let [egress, ingress] = [
        ("app: web", "Egress", "egress", "to", "tier: back"),
        ("tier: back", "Ingress", "ingress", "from", "app: web"),
    ]
    .map(|(subject, kind, rules, peers, peer)| {
        format!(
            "{{podSelector: {{matchLabels: {{{subject}}}}}, policyTypes: [{kind}], \
             {rules}: [{{{peers}: [{{podSelector: {{matchLabels: {{{peer}}}}}}}], {ports}}}]}}"
        )
    });
    Objects::of_all_members().with_default_deny().with_policy("shop", &egress).with_policy("shop", &ingress)
}

/// web's and the target's address of each family.
fn pairs(web: &Pod, target: &Pod) -> Vec<(IpAddr, IpAddr)> {
    web.addresses().into_iter().zip(target.addresses()).collect()
}

#[test]
fn errors_about_allowed_flows_pass() {
    // api is on web's node, db on the other.
    let Some(cluster) = Cluster::of("errors", &["web", "api", "db"]) else {
        return;
    };
    cluster.enforce(&objects());
    let web = cluster.pod("web");
    for target in [cluster.pod("api"), cluster.pod("db")] {
        for (from, to) in pairs(web, target) {
            refused_by_the_target(web, from, to);
            refused_by_the_asker(web, from, target, to);
            too_big_for_the_asker(web, target, to);
        }
    }
    for (from, to) in pairs(web, cluster.pod("db")) {
        expired_at_the_other_node(web, from, to);
    }
    let closed = cluster.pod("db").addresses().into_iter();
    Trials::default()
        .dropped(
            "a closed port that is not allowed stays silent",
            closed.map(|to| Probe::new(web, Protocol::Tcp, to, 9)),
        )
        .check();
}

/// Nobody listens: the target's error goes the way of a reply.
fn refused_by_the_target(web: &Pod, from: IpAddr, to: IpAddr) {
    let socket = udp(web, from, 0);
    socket.connect((to, 9)).unwrap();
    socket.send(b"?").unwrap();
    let answer = receive(&socket).unwrap_err().kind();
    assert_eq!(answer, ErrorKind::ConnectionRefused, "{from} to {to}");
}

/// Nobody listens any more when the answer comes: the asker's error goes the way of a request, and no rule allows
/// ICMP that way.
fn refused_by_the_asker(web: &Pod, from: IpAddr, target: &Pod, to: IpAddr) {
    let (asker, answerer) = (udp(web, from, 0), udp(target, to, 5000));
    asker.send_to(b"?", (to, 5000)).unwrap();
    assert_eq!(receive(&answerer).unwrap(), b"?", "{from} to {to}");
    answerer.connect(asker.local_addr().unwrap()).unwrap();
    drop(asker);
    answerer.send(b"!").unwrap();
    let answer = receive(&answerer).unwrap_err().kind();
    assert_eq!(answer, ErrorKind::ConnectionRefused, "{to} to {from}");
}

/// A router on the way back has a narrow link: it tells the sender of the answer, as one of its own node or of
/// another. A connection whose packets shrink because of it goes on; otherwise it hangs.
fn too_big_for_the_asker(web: &Pod, target: &Pod, to: IpAddr) {
    const LENGTH: usize = 100_000;
    let narrow = format!("link set dev {} mtu 1280", web.host_interface());
    web.node().ip(&[narrow]).unwrap();
    let listener = target.enter(|| TcpListener::bind((to, 9000))).unwrap().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[b'!'; LENGTH]).unwrap();
    });
    let mut stream = web
        .enter(|| TcpStream::connect_timeout(&SocketAddr::new(to, 9000), patient(PATIENCE)))
        .unwrap()
        .unwrap();
    stream.set_read_timeout(Some(patient(PATIENCE))).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), LENGTH, "from {to}");
    server.join().unwrap();
}

/// The second router gives up: its error comes from an address that no rule allows.
fn expired_at_the_other_node(web: &Pod, from: IpAddr, to: IpAddr) {
    let socket = udp(web, from, 0);
    match from {
        IpAddr::V4(_) => {
            setsockopt(&socket, Ipv4RecvErr, &true).unwrap();
            SockRef::from(&socket).set_ttl_v4(2).unwrap();
        }
        IpAddr::V6(_) => {
            setsockopt(&socket, Ipv6RecvErr, &true).unwrap();
            SockRef::from(&socket).set_unicast_hops_v6(2).unwrap();
        }
    }
    socket.connect((to, 80)).unwrap();
    socket.send(b"?").unwrap();
    let answer = receive(&socket).unwrap_err().raw_os_error();
    assert_eq!(answer, Some(libc::EHOSTUNREACH), "{from} to {to}");
}
