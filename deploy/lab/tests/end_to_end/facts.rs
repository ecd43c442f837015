//! A node whose pods hang on a bridge that the rules do not see: it is said everywhere, and mended where that is asked for.

use std::fs;

use flock_lab::{Node, Pod, skipped};

use crate::manifests::{CLUSTER, DENY};
use crate::site::Site;
use crate::support::process::Process;
use crate::support::programs::{AGENT, program};
use crate::support::wait::wait_until;

const SETTINGS: [&str; 2] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];
const METRIC: &str = "flock_compiler_nodes_not_judged{reason=\"bridge_nf\"}";

/// Gives a node the bridge of its pods, whose frames the rules do not see; an error where the kernel has no br_netfilter.
fn with_blind_bridge(node: &Node) -> std::io::Result<()> {
    node.ip(&[
        "link add cni0 type bridge".to_owned(),
        "address add 10.1.0.1/24 dev cni0".to_owned(),
        "link add vethpod type veth peer name vethend".to_owned(),
        "link set vethpod master cni0".to_owned(),
        "link set cni0 up".to_owned(),
    ])
    .unwrap();
    let write = |setting| fs::write(format!("/proc/sys/net/bridge/{setting}"), "0");
    node.enter(|| SETTINGS.into_iter().try_for_each(write)).unwrap()
}

fn settings(node: &Node) -> [String; 2] {
    let read =
        |setting| fs::read_to_string(format!("/proc/sys/net/bridge/{setting}")).unwrap().trim().to_owned();
    node.enter(|| SETTINGS.map(read)).unwrap()
}

/// An agent that starts nft where it can look at the node itself.
fn agent(site: &Site, options: &[&str]) -> Process {
    let nft = site.ground.node("n1").nft_command();
    let mut command = program(AGENT);
    command.args(["--node", "n1", "--compiler", &site.compiler.url(), "--nft", &nft]).args(options);
    Process::start(command, site.ground.directory())
}

#[test]
fn pods_on_a_bridge_that_the_rules_do_not_see_are_told_and_the_bridge_is_shown_to_them() {
    // The node's own block has the bridge's address.
    let cluster =
        CLUSTER.replace("metadata: {name: n1}}", "metadata: {name: n1}, spec: {podCIDR: 10.1.0.0/24}}");
    let Some(site) = Site::with("not-judged", &cluster) else { return };
    site.manifests.put("policies.yaml", DENY);
    let node = site.ground.node("n1");
    if let Err(error) = with_blind_bridge(node) {
        skipped(&format!("needs the kernel's br_netfilter: {error}"));
        return;
    }
    let state = || {
        let table = site.flockctl.text(&["nodes"]);
        let line = table.lines().find(|line| line.starts_with("n1")).unwrap_or_default();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).nth(1).unwrap_or_default().to_owned()
    };

    let mut checks = agent(&site, &[]);
    wait_until("the state of the node", || state() == "not judged");
    wait_until("the table, which stands all the same", || site.flockctl.node("n1").current);
    let reason = |setting: &str| format!("pods hang on bridge cni0, and net.bridge.{setting} is 0");
    let reasons = SETTINGS.map(reason);
    assert_eq!(site.flockctl.node("n1").not_judged, reasons);
    assert!(site.flockctl.text(&["nodes"]).contains("0 of 2 nodes enforce"));
    assert!(site.flockctl.text(&["nodes", "-o", "yaml"]).contains(&reasons[0]));
    // Problems are in order of their words.
    let mut problems: Vec<_> =
        site.flockctl.problems().into_iter().map(|it| (it.object, it.message)).collect();
    problems.reverse();
    assert_eq!(problems, reasons.clone().map(|reason| ("Node n1".to_owned(), reason)));
    assert_eq!(site.compiler.metric(METRIC), Some(1.0));
    assert_eq!(settings(node), ["0", "0"], "it is only told");
    assert!(checks.terminate().success());
    assert_eq!(site.flockctl.node("n1").not_judged, reasons, "what is known stays");

    let _sets = agent(&site, &["--bridge-nf", "set"]);
    wait_until("a node that is judged", || state() == "current");
    assert_eq!((settings(node), site.flockctl.node("n1").not_judged), (["1".into(), "1".into()], vec![]));
    wait_until("no problem", || site.flockctl.problems().is_empty());
    assert_eq!(site.compiler.metric(METRIC), Some(0.0));
}

const WEB: &str = "10.1.0.2";
const API: &str = "10.1.0.3";

/// A burst of datagrams to another pod.
fn talk(from: &Pod, to: &str) {
    let line = format!("for port in $(seq 10000 10700); do echo -n x >/dev/udp/{to}/$port; done");
    from.run("bash", &["-c", &line], "").unwrap();
}

/// Whether a pod's server on port 80 is reached.
fn reaches(from: &Pod, to: &str) -> bool {
    from.run("timeout", &["2", "bash", "-c", &format!("exec 3<>/dev/tcp/{to}/80")], "").is_ok()
}

/// A table of family netdev that carries what two pods say to each other from link to link, as eBPF programs do.
fn short_cut(web: &Pod, api: &Pod) -> String {
    let chain = |name: &str, from: &Pod, to: &Pod, address: &str| {
        let link = to.run("ip", &["-br", "link", "show", "eth0"], "").unwrap();
        let hardware = link.split_whitespace().nth(2).unwrap();
        format!(
            "chain {name} {{\ntype filter hook ingress device \"{}\" priority 0; policy accept;\n\
             ip daddr {address} ether daddr set {} fwd to \"{}\"\n}}\n",
            from.host_interface(),
            hardware,
            to.host_interface()
        )
    };
    format!("table netdev around {{\n{}{}}}\n", chain("a", web, api, API), chain("b", api, web, WEB))
}

#[test]
fn rules_that_are_gone_round_are_told_and_rules_that_are_met_are_not() {
    let Some(site) = Site::new("gone-round") else { return };
    site.manifests.put("policies.yaml", DENY);
    let [web, api] = [("web", WEB), ("api", API)].map(|(name, address)| site.ground.pod("n1", name, address));
    let node = site.ground.node("n1");
    // A period is two intervals.
    let _agent = agent(&site, &["--check-interval", "0.5"]);
    site.settle_node("n1", &site.manifests.revision("n1"));
    let talk = || {
        talk(&web, API);
        talk(&api, WEB);
    };
    let not_judged = || {
        talk();
        site.flockctl.node("n1").not_judged
    };
    // All of it is denied, so nothing is forwarded.
    for _ in 0..20 {
        assert_eq!(not_judged(), Vec::<String>::new());
    }
    assert!(!reaches(&web, API), "it is denied");

    if let Err(error) = node.run("nft", &["-f", "-"], &short_cut(&web, &api)) {
        skipped(&format!("needs the kernel's nft_fwd_netdev: {error}"));
        return;
    }
    assert!(reaches(&web, API), "it is denied, and does not come to the rules");
    wait_until("a table that is gone round", || !not_judged().is_empty());
    let why = site.flockctl.node("n1").not_judged;
    assert!(why.len() == 1 && why[0].starts_with("pods talk, and the rules meet next to nothing"), "{why:?}");
    assert_eq!(site.compiler.metric("flock_compiler_nodes_not_judged{reason=\"bypassed\"}"), Some(1.0));
    let checked = String::from_utf8(site.flockctl.run(&["check"]).stdout).unwrap();
    assert!(checked.contains(&format!("datapath   ✗ fail     n1: {}", why[0])), "{checked}");

    node.run("nft", &["delete", "table", "netdev", "around"], "").unwrap();
    wait_until("a table that is met", || not_judged().is_empty());
    assert!(!reaches(&web, API), "it is denied");
}
