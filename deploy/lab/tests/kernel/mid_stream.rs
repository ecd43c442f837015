//! What begins in mid-stream is no connection of an isolated pod: a segment without SYN that connection tracking does not
//! know never arrives, also where a rule allows the port, and whoever sent it is reset.

use std::time::{Duration, Instant};

use flock_lab::{Pod, patient};
use socket2::Socket;

use crate::cluster::Cluster;
use crate::objects::Objects;
use crate::segments::{ACK, PUSH_ACK, RST, SYN, Segment, ear, next, send, v4};

/// A port that nobody serves: nothing but these segments is there.
const PORT: u16 = 4712;
/// How long something may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(300);

/// Whether a segment to this port with these flags arrives.
fn hears(ear: &Socket, port: u16, flags: u8) -> bool {
    let end = Instant::now() + patient(ON_ITS_WAY);
    while Instant::now() < end {
        if next(ear).is_some_and(|segment| segment.to_port == port && segment.flags & flags == flags) {
            return true;
        }
    }
    false
}

/// Sends a segment; whether it arrives, and whether its sender is reset.
fn sent(from: (&Pod, &str), to: (&Pod, &str), source_port: u16, flags: u8) -> (bool, bool) {
    let (listening, own) = (ear(to.0), ear(from.0));
    let segment = Segment { from_port: source_port, to_port: PORT, number: 7, answered: 7, flags, length: 0 };
    send(&own, (v4(from.1), v4(to.1)), &segment);
    (hears(&listening, PORT, flags), hears(&own, source_port, RST))
}

#[test]
fn a_segment_without_a_beginning_never_arrives_at_an_isolated_pod() {
    let Some(cluster) = Cluster::of("mid-stream", &["web", "api", "teller"]) else { return };
    let [web, api, teller] = ["web", "api", "teller"].map(|name| (cluster.pod(name), name));
    // Everything is allowed to api, which only ingress isolates; web and teller are open.
    let objects = Objects::of_all_members().with_policy(
        "shop",
        "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
         ingress: [{ports: [{port: 4712}]}]}",
    );
    assert!(sent(web, api, 30_001, ACK).0, "before anything is enforced");
    cluster.enforce(&objects);
    // The flags by which connection tracking picks a connection up; it calls others invalid, and they begin nothing.
    for (port, flags) in [(30_002, ACK), (30_003, PUSH_ACK)] {
        assert_eq!(sent(web, api, port, flags), (false, true), "{flags:#x} to an isolated pod");
    }
    assert!(!sent(api, web, 30_006, ACK).0, "from a pod that only ingress isolates");
    assert!(sent(web, api, 30_007, SYN).0, "a beginning");
    assert!(sent(web, teller, 30_008, ACK).0, "between open pods");
}
