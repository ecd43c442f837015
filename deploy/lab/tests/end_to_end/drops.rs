//! Drops from the packet to the screen: what the kernel takes down on a node, the agent tells and the compiler judges again,
//! `flockctl drops` shows with the right pods and policies, and nothing else; watchers hear of it at once, each by itself.

use std::collections::BTreeMap;
use std::path::Path;

use flock_lab::Pod;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::manifests::{CLUSTER, DENY, pod};
use crate::site::Site;
use crate::support::process::Process;
use crate::support::wait::{wait_for, wait_until};

/// Senders on n1, each with its address: one alone may not fill the sets.
const SENDERS: [(&str, &str); 4] =
    [("web", "10.1.0.2"), ("api", "10.1.0.3"), ("job", "10.1.0.5"), ("cron", "10.1.0.6")];
const DB: &str = "10.1.0.4";
/// Flows of each sender.
const FLOWS: u16 = 250;
const FIRST: u16 = 10_000;

/// The pods of most tests, and the senders that these do not have.
fn cluster() -> String {
    let more = SENDERS.iter().skip(2).map(|(name, address)| format!("---\n{}", pod(name, "n1", address)));
    CLUSTER.to_owned() + &more.collect::<String>()
}

/// A datagram to each of these ports of the database.
fn spray(from: &Pod, first: u16, count: u16) {
    let last = first + count - 1;
    let line = format!("for port in $(seq {first} {last}); do echo -n x >/dev/udp/{DB}/$port; done");
    from.run("bash", &["-c", &line], "").unwrap();
}

/// Something that changes what n2 is to have.
fn churn(number: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: shop, name: churn}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: db}}}}\n  policyTypes: [Ingress]\n  ingress:\n  \
         - from: [{{ipBlock: {{cidr: 192.0.2.{number}/32}}}}]\n    ports: [{{port: {}}}]\n",
        3000 + number
    )
}

fn text<'a>(row: &'a Value, path: &str) -> &'a str {
    row.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} in {row}"))
}

/// The sender and the port of a flow to the database, once all that is said of it is right.
fn checked(row: &Value) -> (String, u64) {
    assert_eq!((text(row, "/node"), text(row, "/to/name")), ("n2", "shop/db"), "{row}");
    assert_eq!(text(row, "/port/protocol"), "UDP", "{row}");
    let why = text(row, "/why");
    assert!(why.starts_with("ingress: isolated by ") && why.contains("shop/deny"), "{why}");
    (text(row, "/from/name").to_owned(), row.pointer("/port/number").unwrap().as_u64().unwrap())
}

#[test]
fn every_flow_that_is_dropped_is_shown_with_its_pods_and_policies_and_no_other() {
    let Some(site) = Site::with("drops", &cluster()) else { return };
    let senders = SENDERS.map(|(name, address)| (name, site.ground.pod("n1", name, address)));
    let _db = site.ground.pod("n2", "db", DB);
    site.manifests.put("deny.yaml", DENY);
    let _agents = site.agents();
    site.settle();
    assert_eq!(site.flockctl.json::<Value>(&["drops"]), Value::Array(Vec::new()), "nothing is dropped");

    // A change before each of the parts, and while they are sent.
    for (part, number) in (0..FLOWS).step_by(50).zip(1..) {
        site.manifests.put("churn.yaml", &churn(number));
        for (_, pod) in &senders {
            spray(pod, FIRST + part, 50);
        }
    }
    site.settle();
    let shown = wait_for("all that was dropped", || {
        let rows: Vec<Value> = site.flockctl.json(&["drops", "--since", "15m"]);
        (rows.len() >= SENDERS.len() * usize::from(FLOWS)).then_some(rows)
    });
    let mut flows: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for row in &shown {
        assert_eq!(row.pointer("/missed").and_then(Value::as_u64).unwrap_or_default(), 0, "{row}");
        *flows.entry(checked(row)).or_default() += row["packets"].as_u64().unwrap();
    }
    let expected = SENDERS.iter().flat_map(|(name, _)| {
        (FIRST..FIRST + FLOWS).map(move |port| ((format!("shop/{name}"), u64::from(port)), 1))
    });
    assert_eq!(flows, expected.collect());

    // As many packets are told with the policy.
    let policies: Vec<Value> = site.flockctl.json(&["policies", "-n", "shop"]);
    let deny = policies.iter().find(|row| row["name"] == "deny").unwrap();
    assert_eq!(deny["drops"].as_u64(), Some(1000), "{deny}");
    let explained = site.flockctl.run(&["explain", "shop/web", "shop/db", "10000/UDP"]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("1 packet since"), "{explained}");
}

/// A watcher whose lines go to a log.
fn watch(site: &Site, directory: &Path) -> Process {
    Process::start(site.flockctl.command(&["drops", "-f", "-o", "json"]), directory)
}

#[test]
fn watchers_hear_of_first_packets_at_once_and_none_holds_up_another() {
    let Some(site) = Site::with("drops-f", &cluster()) else { return };
    let senders = SENDERS.map(|(name, address)| (name, site.ground.pod("n1", name, address)));
    let _db = site.ground.pod("n2", "db", DB);
    site.manifests.put("deny.yaml", DENY);
    let _agents = site.agents();
    site.settle();
    let shows = || {
        let shown = site.ground.node("n2").run("cat", &["/proc/net/netfilter/nfnetlink_log"], "").unwrap();
        !shown.is_empty()
    };
    assert!(!shows(), "nobody watches");
    let mut one = watch(&site, site.ground.directory());
    wait_until("packets to be shown", shows);
    let mut other = watch(&site, site.ground.directory());
    let [(_, web), ..] = &senders;
    // Nothing tells that the second has subscribed, too, but that it hears.
    let mut ports = 19_000..19_100;
    wait_until("the second to hear", || {
        spray(web, ports.next().unwrap(), 1);
        other.log().contains("\"number\":19")
    });
    spray(web, 20_000, 1);
    for watcher in [&mut one, &mut other] {
        let line = watcher.line("20000");
        let row: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(checked(&row), ("shop/web".to_owned(), 20_000));
    }

    // One that is stopped misses nothing that is kept, and the other one does not wait for it.
    let stalled = Pid::from_raw(one.id().cast_signed());
    kill(stalled, Signal::SIGSTOP).unwrap();
    for (_, pod) in &senders {
        spray(pod, 21_000, 100);
    }
    for port in [21_000, 21_099] {
        other.line(&port.to_string());
    }
    kill(stalled, Signal::SIGCONT).unwrap();
    for port in 21_000..21_100u16 {
        one.line(&format!("{port}"));
    }
    one.kill();
    other.kill();
    wait_until("packets to be shown to nobody", || !shows());
}
