//! Connections that are held for the whole churn: bytes go back and forth all the time, and a table of the test's own
//! on each node counts their packets where they enter and where they leave. TCP would repeat a packet that was
//! dropped; the counts tell.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flock_lab::{Family, Pod};
use serde_json::Value;

use crate::ground::{Ground, NODES};
use crate::policies::KEPT_PORT;
use crate::stage::{Place, Role};
use crate::support::wait::PATIENCE;

/// Between two exchanges.
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes of an exchange.
const CHUNK: usize = 600;

/// Connections between all keepers, both families.
pub(crate) struct Kept {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Kept {
    /// Opens them.
    pub(crate) fn open(ground: &Ground, places: &[Place], pods: &[Pod]) -> Self {
        for node in NODES {
            ground.node(node).nft(&counters()).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let keepers = || places.iter().zip(pods).filter(|(place, _)| place.role == Role::Keeper);
        let mut threads = Vec::new();
        for (place, pod) in keepers() {
            for (other, _) in keepers().filter(|(other, _)| other.name != place.name) {
                for family in [Family::V4, Family::V6] {
                    let to = SocketAddr::new(other.address(family), KEPT_PORT);
                    let stream = pod.enter(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_write_timeout(Some(PATIENCE)).unwrap();
                    let stop = Arc::clone(&stop);
                    threads.push(thread::spawn(move || exchange(stream, &stop)));
                }
            }
        }
        Self { stop, threads }
    }

    pub(crate) const fn count(&self) -> usize {
        self.threads.len()
    }

    /// Closes them all and gives the bytes that came back. A connection that broke has failed the test.
    pub(crate) fn close(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a kept connection broke")).sum()
    }
}

/// Sends chunks and expects each back; the bytes that came.
fn exchange(mut stream: TcpStream, stop: &AtomicBool) -> u64 {
    let mut bytes = 0;
    for round in (0u8..=u8::MAX).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut back = [0; CHUNK];
        stream.write_all(&[round; CHUNK]).expect("a kept connection takes bytes");
        stream.read_exact(&mut back).expect("a kept connection gives them back");
        assert_eq!(back, [round; CHUNK]);
        bytes += CHUNK as u64;
        thread::sleep(PAUSE);
    }
    bytes
}

fn counters() -> String {
    let chain = |name: &str, hook: &str, priority: i32| {
        let rules: String = ["tcp dport", "tcp sport"]
            .iter()
            .map(|field| format!("add rule inet flock_lab {name} {field} {KEPT_PORT} counter\n"))
            .collect();
        format!("add chain inet flock_lab {name} {{ type filter hook {hook} priority {priority}; }}\n{rules}")
    };
    let [entering, leaving] = [chain("entering", "prerouting", -400), chain("leaving", "postrouting", 400)];
    format!("add table inet flock_lab\n{entering}{leaving}")
}

/// How many packets of kept connections entered and left a node: to the servers, and back.
pub(crate) fn packets(ground: &Ground, node: &str) -> [[u64; 2]; 2] {
    ["entering", "leaving"].map(|chain| {
        let arguments = ["-j", "list", "chain", "inet", "flock_lab", chain];
        let listed = ground.node(node).run("nft", &arguments, "").unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let rules = listed["nftables"].as_array().unwrap().iter().filter_map(|entry| entry.get("rule"));
        let parts = rules.flat_map(|rule| rule["expr"].as_array().unwrap());
        let counts: Vec<u64> = parts.filter_map(|part| part["counter"]["packets"].as_u64()).collect();
        counts.try_into().unwrap()
    })
}
