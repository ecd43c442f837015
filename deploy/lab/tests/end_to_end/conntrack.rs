//! What a revoked rule leaves open: nothing. Neither the replies of a server that goes on sending, nor an entry of
//! connection tracking that denied packets keep alive; and what is allowed keeps its entry.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use flock_lab::Pod;

use crate::manifests::CLUSTER;
use crate::site::Site;
use crate::support::wait::{PATIENCE, wait_until};

/// Long enough for what passes, short enough to wait for what does not.
const MOMENT: Duration = Duration::from_millis(200);
/// How often in a row what was cut is tried: longer than a packet is on its way, and than the agent's second look takes.
const AGAIN: usize = 8;
/// How long a slow node takes: longer than the other one goes on looking by itself.
const SLOW: Duration = Duration::from_secs(3);

const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const WEB: [u8; 4] = [10, 1, 0, 2];
const API: [u8; 4] = [10, 1, 0, 3];
const DB: [u8; 4] = [10, 1, 0, 4];
/// The address of a service of `api`.
const SERVICE: [u8; 4] = [10, 96, 0, 3];

/// Every pod of the shop is isolated in both directions.
const DENY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";

/// Pods of some apps may send to those of others, which may receive it, on one port of UDP and TCP.
fn allow(name: &str, from: &str, to: &str, port: u16) -> String {
    let ports = format!("ports: [{{port: {port}, protocol: UDP}}, {{port: {port}}}]");
    let pods = |apps: &str| format!("matchExpressions: [{{key: app, operator: In, values: [{apps}]}}]");
    let (from, to) = (pods(from), pods(to));
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: shop, name: {name}-out}}
spec:
  podSelector: {{{from}}}
  policyTypes: [Egress]
  egress: [{{to: [{{podSelector: {{{to}}}}}], {ports}}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: shop, name: {name}-in}}
spec:
  podSelector: {{{to}}}
  policyTypes: [Ingress]
  ingress: [{{from: [{{podSelector: {{{from}}}}}], {ports}}}]
"
    )
}

fn udp(pod: &Pod, port: u16) -> UdpSocket {
    let socket = pod.enter(|| UdpSocket::bind((ANY, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(MOMENT)).unwrap();
    socket
}

fn has_come(socket: &UdpSocket) -> bool {
    match socket.recv(&mut [0; 16]) {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A client that has asked, and a server that has heard it.
struct Talk {
    client: UdpSocket,
    server: UdpSocket,
}

impl Talk {
    fn open(from: &Pod, pod: &Pod, port: u16, to: SocketAddr) -> Self {
        let (client, server) = (udp(from, 0), udp(pod, port));
        client.connect(to).unwrap();
        client.send(b"?").unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let (_, asker) = server.recv_from(&mut [0; 16]).expect("the question should come");
        server.connect(asker).unwrap();
        server.set_read_timeout(Some(MOMENT)).unwrap();
        let talk = Self { client, server };
        talk.goes_on();
        talk
    }

    /// The server is heard: what has lost its entry, where only that leads here, never is again.
    fn goes_on(&self) {
        wait_until("the server to be heard", || self.is_heard());
    }

    /// Both send; whether the client hears the server.
    fn is_heard(&self) -> bool {
        self.client.set_nonblocking(true).unwrap();
        while self.client.recv(&mut [0; 16]).is_ok() {}
        self.client.set_nonblocking(false).unwrap();
        self.client.send(b"?").unwrap();
        self.server.send(b"!").unwrap();
        has_come(&self.client)
    }

    /// The server sends; whether the client hears it.
    fn is_told(&self) -> bool {
        self.server.send(b"!").unwrap();
        has_come(&self.client)
    }

    fn is_cut(&self) {
        wait_until("the server to be heard no more", || (0..AGAIN).all(|_| !self.is_heard()));
    }
}

/// The site, with its three pods.
struct Stage {
    site: Site,
    web: Pod,
    api: Pod,
    db: Pod,
}

impl Stage {
    fn new(tag: &str, policies: &str) -> Option<Self> {
        let site = Site::with(tag, CLUSTER)?;
        let [web, api, db] = [("n1", "web", WEB), ("n1", "api", API), ("n2", "db", DB)]
            .map(|(node, name, address)| site.ground.pod(node, name, &IpAddr::from(address).to_string()));
        site.manifests.put("policies.yaml", &format!("{DENY}{policies}"));
        Some(Self { site, web, api, db })
    }

    fn allow(&self, policies: &str) {
        self.site.manifests.put("policies.yaml", &format!("{DENY}{policies}"));
        self.site.settle();
    }
}

#[test]
fn a_server_that_goes_on_sending_is_heard_no_more_and_what_is_allowed_keeps_its_entry() {
    let both = [allow("a", "web", "api, db", 5000), allow("b", "web", "api", 5001)];
    let Some(stage) = Stage::new("conntrack-udp", &both.concat()) else { return };
    let Stage { site, web, api, db } = &stage;
    let _agents = site.agents();
    site.settle();
    let node = site.ground.node("n1");
    let service = IpAddr::from(SERVICE);
    let dnat = |port| {
        format!(
            "ip daddr {service} meta l4proto {{ tcp, udp }} th dport {port} dnat ip to {}",
            IpAddr::from(API)
        )
    };
    let table = format!(
        "table inet services {{\nchain before {{\ntype nat hook prerouting priority dstnat\n{}\n{}\n}}\n}}\n",
        dnat(5000),
        dnat(5001)
    );
    node.nft(&table).unwrap();
    let through = |port| SocketAddr::new(service, port);
    // The sockets of a service's port go first: each pod has one socket for each port.
    let revoked = [
        Talk::open(web, api, 5000, through(5000)),
        Talk::open(web, db, 5000, SocketAddr::new(DB.into(), 5000)),
    ];
    let kept = Talk::open(web, api, 5001, through(5001));
    let mut kept_tcp = tcp(web, api, 5001, through(5001));
    // From now on only entries lead from the service to the pod: a connection that loses its entry is lost.
    node.nft("flush chain inet services before").unwrap();
    kept.goes_on();

    stage.allow(&both[1]);
    for talk in &revoked {
        talk.is_cut();
    }
    kept.goes_on();
    assert!(echoes(&mut kept_tcp), "an allowed connection of the same pods");
}

/// A connection, both its ends.
fn tcp(from: &Pod, pod: &Pod, port: u16, to: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = pod.enter(|| TcpListener::bind((ANY, port))).unwrap().unwrap();
    let client = from.enter(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().unwrap();
    let (server, _) = listener.accept().unwrap();
    let mut ends = (client, server);
    assert!(echoes(&mut ends));
    ends
}

fn echoes((client, server): &mut (TcpStream, TcpStream)) -> bool {
    [&*client, &*server].iter().for_each(|end| end.set_read_timeout(Some(PATIENCE)).unwrap());
    let mut byte = [0];
    let mut there_and_back = || {
        client.write_all(b"?")?;
        server.read_exact(&mut byte)?;
        server.write_all(b"!")?;
        client.read_exact(&mut byte)
    };
    there_and_back().is_ok()
}

#[test]
fn a_tcp_server_that_streams_is_cut() {
    let rule = allow("a", "web", "api, db", 5000);
    let Some(stage) = Stage::new("conntrack-tcp", &rule) else { return };
    let Stage { site, web, api, db } = &stage;
    let _agents = site.agents();
    site.settle();
    let streams = [(api, API), (db, DB)]
        .map(|(pod, address)| tcp(web, pod, 5000, SocketAddr::new(address.into(), 5000)));
    stage.allow("");
    for (mut client, mut server) in streams {
        server.set_nonblocking(true).unwrap();
        client.set_read_timeout(Some(MOMENT)).unwrap();
        // Sends what it can. It may have been reset, which is an end as well.
        let mut arrives = || {
            let _ = server.write(&[b'!'; 512]);
            matches!(client.read(&mut [0; 4096]), Ok(1..))
        };
        wait_until("the stream to end", || (0..AGAIN).all(|_| !arrives()));
    }
}

#[test]
fn a_denied_end_that_goes_on_does_not_keep_the_other_from_an_answer() {
    let (there, back) = (allow("there", "web", "api, db", 5060), allow("back", "api, db", "web", 5060));
    let Some(stage) = Stage::new("conntrack-port", &format!("{there}{back}")) else { return };
    let Stage { site, web, api, db } = &stage;
    let _agents = site.agents();
    site.settle();
    let web = udp(web, 5060);
    let others =
        [(api, API), (db, DB)].map(|(pod, address)| (udp(pod, 5060), SocketAddr::new(address.into(), 5060)));
    for (other, address) in &others {
        web.send_to(b"?", address).unwrap();
        other.set_read_timeout(Some(PATIENCE)).unwrap();
        other.recv(&mut [0; 16]).expect("who speaks first is heard");
        other.set_read_timeout(Some(MOMENT)).unwrap();
    }
    stage.allow(&back);
    for (other, address) in &others {
        // Whatever web sends is an answer if there was a question, and denied else.
        wait_until("an answer", || {
            other.send_to(b"?", (IpAddr::from(WEB), 5060)).unwrap();
            web.send_to(b"!", address).unwrap();
            has_come(other)
        });
    }
}

#[test]
fn what_began_without_a_table_is_cut_once_there_is_one() {
    let Some(stage) = Stage::new("conntrack-start", "") else { return };
    let Stage { site, web, api, db } = &stage;
    let state = site.ground.directory().join("state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let first = Talk::open(web, api, 5000, SocketAddr::new(API.into(), 5000));
    let mut agent = site.agent("n1", &options);
    site.settle_node("n1", &site.manifests.revision("n1"));
    first.is_cut();
    wait_until("the ruleset on disk", || state.join("ruleset").exists());

    agent.kill();
    site.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
    let second = Talk::open(web, db, 5001, SocketAddr::new(DB.into(), 5001));
    let _agent = site.agent("n1", &options);
    second.is_cut();
}

/// A pod of some app is isolated in these directions, and allowed web or db on these ports there.
fn one_way(app: &str, types: &str, direction: &str, ports: &[u16]) -> String {
    let (side, other) = match direction {
        "egress" => ("to", "db"),
        _ => ("from", "web"),
    };
    let ports: Vec<String> =
        ports.iter().map(|port| format!("{{port: {port}, protocol: UDP}}, {{port: {port}}}")).collect();
    let rule = match ports.is_empty() {
        true => String::new(),
        false => format!(
            "{{{side}: [{{podSelector: {{matchLabels: {{app: {other}}}}}}}], ports: [{}]}}",
            ports.join(", ")
        ),
    };
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: shop, name: {app}}}
spec: {{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [{types}], {direction}: [{rule}]}}
"
    )
}

/// The client and the server are on two nodes, and only the rules of one of them change. What its node forgets, the other
/// one's still takes for a connection, unless it is told.
#[test]
fn what_one_node_revokes_the_other_one_forgets() {
    let Some(stage) = Stage::new("conntrack-two", "") else { return };
    let Stage { site, web, db, .. } = &stage;
    let _agents = site.agents();
    let to = |port| SocketAddr::new(DB.into(), port);
    let put = |policies: &[String]| {
        site.manifests.put("policies.yaml", &policies.concat());
        site.settle();
    };

    // The client's node lets no question out any more, and anything in; the server may send nothing but answers.
    let server = one_way("db", "Ingress, Egress", "ingress", &[5000, 5001]);
    put(&[one_way("web", "Egress", "egress", &[5000, 5001]), server.clone()]);
    let (revoked, mut kept) = (Talk::open(web, db, 5000, to(5000)), tcp(web, db, 5001, to(5001)));
    put(&[one_way("web", "Egress", "egress", &[5001]), server]);
    revoked.is_cut();
    assert!(echoes(&mut kept), "an allowed connection of the same pods");
    drop((revoked, kept));

    // The server's node lets no question in any more, and anything out; the client hears nothing but answers.
    let client = one_way("web", "Ingress, Egress", "egress", &[5002, 5003]);
    put(&[client.clone(), one_way("db", "Ingress", "ingress", &[5002, 5003])]);
    let (revoked, mut kept) = (Talk::open(web, db, 5002, to(5002)), tcp(web, db, 5003, to(5003)));
    put(&[client, one_way("db", "Ingress", "ingress", &[5003])]);
    wait_until("the server to be heard no more", || (0..AGAIN).all(|_| !revoked.is_told()));
    assert!(echoes(&mut kept), "an allowed connection of the same pods");
}

/// As long as a node has not revoked what the other one is to forget, the connection comes back as a new one there.
#[test]
fn what_a_slow_node_revokes_the_other_one_forgets_after_it() {
    let Some(stage) = Stage::new("conntrack-slow", "") else { return };
    let Stage { site, web, db, .. } = &stage;
    let _agents = site.agents();
    let put = |ports: &[u16]| {
        let server = one_way("db", "Ingress, Egress", "ingress", &[5000, 5001]);
        site.manifests.put("policies.yaml", &[one_way("web", "Egress", "egress", ports), server].concat());
    };
    put(&[5000, 5001]);
    site.settle();
    let revoked = Talk::open(web, db, 5000, SocketAddr::new(DB.into(), 5000));
    let mut kept = tcp(web, db, 5001, SocketAddr::new(DB.into(), 5001));

    site.ground.set_trap("n1", "while [ -e \"$trap\" ]; do sleep 0.05; done");
    put(&[5001]);
    let until = Instant::now() + SLOW;
    while Instant::now() < until {
        // The client's node allows it still.
        revoked.goes_on();
    }
    site.ground.remove_trap("n1");
    revoked.is_cut();
    assert!(echoes(&mut kept), "an allowed connection of the same pods");
}
