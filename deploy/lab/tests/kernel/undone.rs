//! A revoked connection that its client undoes: it sends one segment by hand that ends the entry of connection tracking,
//! which the drop keeps from the server. What the server's kernel sends again then is picked up in mid-stream as a
//! connection from the server, and the client's segments are its replies. None of that comes about.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use flock_compiler_core::Translation;
use flock_lab::{Pod, patient};
use socket2::Socket;

use crate::cluster::{Cluster, script};
use crate::objects::Objects;
use crate::segments::{ACK, FIN, PUSH_ACK, RST, SYN, Segment, ear, next, send, v4};

const PORT: u16 = 5000;
/// How long something may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// How long a server's kernel may need to send again what was not answered: it does so after 0.2, 0.4, 0.8 s and so on.
const AGAIN: Duration = Duration::from_secs(20);

/// Settings of connection tracking of both nodes.
fn settings(cluster: &Cluster, settings: &[(&str, &str)]) {
    for node in &cluster.nodes {
        for (name, value) in settings {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            node.enter(|| fs::write(path, value)).unwrap().unwrap();
        }
    }
}

/// What is closed is forgotten after a second: otherwise it takes ten, or two minutes.
const QUICK: [(&str, &str); 4] = [
    ("tcp_timeout_close", "1"),
    ("tcp_timeout_fin_wait", "1"),
    ("tcp_timeout_close_wait", "1"),
    ("tcp_timeout_last_ack", "1"),
];

/// A TCP connection that stands, its server's port heard at the client and the client's at the server.
struct Stream {
    client: TcpStream,
    server: TcpStream,
    client_ear: Socket,
    server_ear: Socket,
    addresses: [Ipv4Addr; 2],
    client_port: u16,
}

impl Stream {
    fn open(from: (&Pod, &str), to: (&Pod, &str), port: u16) -> Self {
        let [client_address, server_address] = [v4(from.1), v4(to.1)];
        let listener = to.0.enter(|| TcpListener::bind((server_address, port))).unwrap().unwrap();
        let target = SocketAddr::from((server_address, port));
        let client = from.0.enter(|| TcpStream::connect_timeout(&target, patient(AGAIN))).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        for end in [&client, &server] {
            end.set_nonblocking(true).unwrap();
            end.set_nodelay(true).unwrap();
        }
        let client_port = client.local_addr().unwrap().port();
        let (client_ear, server_ear) = (ear(from.0), ear(to.0));
        let addresses = [client_address, server_address];
        Self { client, server, client_ear, server_ear, addresses, client_port }
    }

    fn server_port(&self) -> u16 {
        self.server.local_addr().unwrap().port()
    }

    /// Both say something and hear it; what the numbers are then, of the client and of the server.
    fn exchange(&mut self) -> (u32, u32) {
        assert_eq!(self.arrives(), [true, true]);
        self.server.write_all(b"!").unwrap();
        let end = Instant::now() + patient(AGAIN);
        while Instant::now() < end {
            let found = next(&self.client_ear).filter(|it| it.to_port == self.client_port && it.length == 1);
            if let Some(segment) = found {
                let length = u32::try_from(segment.length).unwrap();
                // Something else may still be on its way: the last one counts.
                let mut last = (segment.answered, segment.number.wrapping_add(length));
                while let Some(segment) = next(&self.client_ear) {
                    if segment.to_port == self.client_port {
                        let length = u32::try_from(segment.length).unwrap();
                        last = (segment.answered, segment.number.wrapping_add(length));
                    }
                }
                self.drain();
                return last;
            }
        }
        panic!("nothing was heard of the server");
    }

    /// Whether what the client says arrives at the server, and the other way; an end that was reset hears nothing.
    fn arrives(&mut self) -> [bool; 2] {
        self.drain();
        let said = [self.client.write(b"?").is_ok(), self.server.write(b"!").is_ok()];
        let end = Instant::now() + patient(ON_ITS_WAY);
        let mut heard = [false; 2];
        while Instant::now() < end && heard != [true, true] {
            let mut buffer = [0; 4096];
            heard[0] |= said[0] && matches!(self.server.read(&mut buffer), Ok(1..));
            heard[1] |= said[1] && matches!(self.client.read(&mut buffer), Ok(1..));
            std::thread::sleep(Duration::from_millis(5));
        }
        heard
    }

    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.client.read(&mut buffer), Ok(1..)) {}
        while matches!(self.server.read(&mut buffer), Ok(1..)) {}
        while next(&self.client_ear).is_some() || next(&self.server_ear).is_some() {}
    }

    /// The client's segment with these flags and number, by hand, past its kernel.
    fn client_sends(&self, flags: u8, number: u32, answered: u32, length: usize) {
        let (from_port, to_port) = (self.client_port, self.server_port());
        let [client, server] = self.addresses;
        let segment = Segment { from_port, to_port, number, answered, flags, length };
        send(&self.client_ear, (client, server), &segment);
    }

    /// The same of the server.
    fn server_sends(&self, flags: u8, number: u32, answered: u32, length: usize) {
        let (from_port, to_port) = (self.server_port(), self.client_port);
        let [client, server] = self.addresses;
        let segment = Segment { from_port, to_port, number, answered, flags, length };
        send(&self.server_ear, (server, client), &segment);
    }

    /// Waits until the server has sent again, and was reset or heard for it; false if neither comes about.
    fn is_cut_or_revived(&mut self) -> bool {
        let end = Instant::now() + patient(AGAIN);
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            let _ = self.client.write(b"?");
            match self.server.read(&mut buffer) {
                Ok(1..) => return true,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
                Ok(0) | Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        false
    }

    /// What arrives at the other end of segments with the right numbers, from the client and from the server.
    fn segments_arrive(&mut self, (client, server): (u32, u32)) -> [bool; 2] {
        self.drain();
        self.client_sends(PUSH_ACK, client, server, 1);
        self.server_sends(PUSH_ACK, server, client, 1);
        let end = Instant::now() + patient(ON_ITS_WAY);
        let mut heard = [false; 2];
        while Instant::now() < end {
            let is_of = |segment: Option<Segment>, port| {
                segment.is_some_and(|it| it.to_port == port && it.flags & RST == 0)
            };
            heard[0] |= is_of(next(&self.server_ear), self.server_port());
            heard[1] |= is_of(next(&self.client_ear), self.client_port);
        }
        heard
    }
}

/// Only who receives is isolated, and web may send to it if this is so.
fn objects(is_allowed: bool) -> Objects {
    let rule = if is_allowed {
        "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]"
    } else {
        "ingress: []"
    };
    let spec = format!("{{podSelector: {{matchLabels: {{tier: back}}}}, policyTypes: [Ingress], {rule}}}");
    Objects::of_all_members().with_policy("shop", &spec)
}

/// Without what is said of segments in mid-stream.
fn enforce_without(cluster: &Cluster, translation: &Translation) {
    for node in &cluster.nodes {
        let script = script(translation, node);
        let lines = script.lines().filter(|line| !line.ends_with("goto midstream"));
        node.nft(&lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

/// What may end an entry: flags, and how far the number is from the right one.
const ENDS: [(&str, u8, u32); 4] = [
    ("a reset", RST, 0),
    ("a reset that answers", RST | ACK, 0),
    ("a reset outside of the window", RST, 0x4000_0000),
    ("an end, which the server's kernel never answers", FIN | ACK, 0),
];

#[test]
fn a_revoked_connection_that_its_client_undoes_stays_cut() {
    let Some(cluster) = Cluster::of("undone", &["web", "api", "db"]) else { return };
    settings(&cluster, &QUICK);
    let [web, api, db] = ["web", "api", "db"].map(|name| (cluster.pod(name), name));
    cluster.enforce(&objects(true));
    let mut streams = Vec::new();
    for (port, (what, flags, beside)) in (PORT..).zip(ENDS) {
        for (server, place) in [(api, "on one node"), (db, "between nodes")] {
            let mut stream = Stream::open(web, server, port);
            let numbers = stream.exchange();
            streams.push((format!("{what}, {place}"), flags, beside, numbers, stream));
        }
    }
    cluster.enforce(&objects(false));
    for (_, flags, beside, (number, answered), stream) in &mut streams {
        stream.client_sends(*flags, number.wrapping_add(*beside), *answered, 0);
        // What the server goes on sending is never answered.
        stream.server.write_all(b"!!!!").unwrap();
    }
    let until = Instant::now() + patient(Duration::from_secs(6));
    for (what, _, _, _, stream) in &mut streams {
        let mut buffer = [0; 64];
        while Instant::now() < until {
            let _ = stream.client.write(b"?");
            assert!(!matches!(stream.server.read(&mut buffer), Ok(1..)), "{what}: heard by the server");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for (what, _, beside, numbers, stream) in &mut streams {
        let [to_server, to_client] = stream.segments_arrive(*numbers);
        assert!(!to_server, "{what}: from the client");
        // A reset outside of the window ends nothing: the entry stands, and who is asked about it is the agent.
        assert!(*beside != 0 || !to_client, "{what}: from the server");
    }
}

/// The attack, where what begins in mid-stream is a connection: it succeeds, so the test above tries something.
#[test]
fn without_what_is_said_of_mid_stream_it_would_go_on() {
    let Some(cluster) = Cluster::of("undone-so", &["web", "api", "db"]) else { return };
    settings(&cluster, &QUICK);
    let [web, api, db] = ["web", "api", "db"].map(|name| (cluster.pod(name), name));
    enforce_without(&cluster, &objects(true).translation());
    let mut streams = [api, db].map(|server| Stream::open(web, server, PORT));
    let numbers = streams.each_mut().map(Stream::exchange);
    enforce_without(&cluster, &objects(false).translation());
    for (stream, (number, answered)) in streams.iter_mut().zip(numbers) {
        stream.client_sends(RST, number, answered, 0);
        stream.server.write_all(b"!!!!").unwrap();
    }
    for stream in &mut streams {
        assert!(stream.is_cut_or_revived());
        assert_eq!(stream.arrives(), [true, true], "the stream goes on");
    }
}

/// An allowed connection whose entry is gone goes on, or one end is told so at once: it never hangs.
#[test]
fn an_allowed_connection_whose_entry_is_gone_goes_on_or_is_reset() {
    let Some(cluster) = Cluster::of("flushed", &["web", "api", "db", "teller"]) else { return };
    let [web, api, db, teller] = ["web", "api", "db", "teller"].map(|name| (cluster.pod(name), name));
    cluster.enforce(&objects(true));
    for (port, liberal) in [(PORT, "0"), (PORT + 1, "1")] {
        settings(&cluster, &[("tcp_be_liberal", liberal)]);
        for server in [api, db, teller] {
            for client_speaks in [true, false] {
                let mut stream = Stream::open(web, server, port);
                assert_eq!(stream.arrives(), [true, true]);
                for node in &cluster.nodes {
                    node.run("conntrack", &["-F"], "").unwrap();
                }
                let what = format!("{} after a flush, the client speaks: {client_speaks}", server.1);
                let (speaker, other) = match client_speaks {
                    true => (&mut stream.client, &mut stream.server),
                    false => (&mut stream.server, &mut stream.client),
                };
                speaker.write_all(b"?").unwrap();
                let is_known = |end: &mut TcpStream| match end.read(&mut [0; 8]) {
                    Ok(1..) => true,
                    Err(error) => error.kind() == ErrorKind::ConnectionReset,
                    Ok(_) => false,
                };
                let end = Instant::now() + patient(Duration::from_secs(2));
                let mut settled = false;
                while !settled && Instant::now() < end {
                    settled = is_known(speaker) || is_known(other);
                    std::thread::sleep(Duration::from_millis(5));
                }
                assert!(settled, "{what}");
                // Pods that nothing isolates lose nothing.
                assert!(server.1 != "teller" || stream.arrives() == [true, true], "{what}");
            }
        }
    }
}

/// Whatever a stranger begins with, no segment of a denied pair arrives, and what is no beginning opens nothing.
#[test]
fn no_first_segment_opens_what_is_denied() {
    let Some(cluster) = Cluster::of("first-segments", &["web", "api", "db"]) else { return };
    let [web, api, db] = ["web", "api", "db"].map(|name| (cluster.pod(name), name));
    cluster.enforce(&objects(false));
    for (loose, liberal) in [("1", "0"), ("0", "0"), ("1", "1"), ("0", "1")] {
        settings(&cluster, &[("tcp_loose", loose), ("tcp_be_liberal", liberal)]);
        for (number, server) in (0..).zip([api, db]) {
            let (from_ear, to_ear) = (ear(web.0), ear(server.0));
            // A segment with SYN alone from the server is a beginning that its egress allows, and so are the answers.
            let flags = [ACK, PUSH_ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, SYN | FIN, FIN, 0, SYN | RST];
            for (port, flags) in (40_000 + number * 1_000..).zip(flags) {
                let segment = |from_port, to_port, number, flags| Segment {
                    from_port,
                    to_port,
                    number,
                    answered: 7,
                    flags,
                    length: 1,
                };
                let what = format!("{flags:#x} with loose {loose} and liberal {liberal} to {}", server.1);
                // First the server's, by which an entry of the other direction might come about; then the client's.
                send(&to_ear, (v4(server.1), v4("web")), &segment(PORT, port, 7, flags));
                for flags in [flags, ACK, PUSH_ACK, SYN] {
                    send(&from_ear, (v4("web"), v4(server.1)), &segment(port, PORT, 7, flags));
                }
                let end = Instant::now() + Duration::from_millis(60);
                while Instant::now() < end {
                    let found = next(&to_ear).filter(|it| it.to_port == PORT && it.length == 1);
                    assert_eq!(found, None, "{what}");
                }
            }
        }
    }
}
