//! The agent is on every node: what it needs there, and what it is made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

#[path = "end_to_end/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use flock_lab::figures::{Memory, memory};
use flock_lab::skipped;
use flock_proto::{Outcome, Update, UpdateKind};
use flock_shared::{Revision, Script, ScriptHash};
use flock_testkit::compiler::BlockingCompiler;

use crate::support::process::Process;
use crate::support::programs::{AGENT, COMPILER, profile_directory, program, program_of_profile, workspace};

/// Resident bytes that the agent, as it is deployed, must stay below.
const LIMIT: u64 = 10_000_000;
/// Bytes that an agent of any profile may come to have more of its own than after the first update.
const GROWTH: u64 = 2_000_000;
/// The profile that is deployed. Code of others is several times as large.
const RELEASE: &str = "release";
/// What makes it.
const BUILD: &str = "cargo build --release -p flock-node-agent";
/// Full scripts before it is measured, and deltas on the last of them.
const UPDATES: usize = 100;
const DELTAS: usize = 500;
/// Takes every script, as nft does; what nft itself needs is not the agent's.
const NFT: &str = "sh -c 'cat > /dev/null'";
/// Pods on the node, the usual limit of a kubelet.
const LOCAL_PODS: usize = 110;
/// Pods elsewhere in the cluster.
const REMOTE_PODS: usize = 900;
const NAMESPACES: usize = 20;

#[test]
fn steady_memory_is_below_10_megabytes() {
    let directory = tempfile::tempdir().unwrap();
    let manifests = directory.path().join("cluster.yaml");
    fs::write(&manifests, cluster()).unwrap();
    let mut render = program(COMPILER);
    let rendered = render.args(["render", "--node", "n1", "--manifests"]).arg(&manifests).output().unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let script = String::from_utf8(rendered.stdout).unwrap();

    let profile = profile_directory().file_name().unwrap().to_string_lossy().into_owned();
    let mut measured = vec![(profile.clone(), program(AGENT))];
    if profile != RELEASE {
        match program_of_profile(RELEASE, AGENT) {
            Some(agent) => measured.push((RELEASE.to_owned(), agent)),
            None if std::env::var_os("CI").is_some() => {
                panic!("no agent of the release profile newer than its sources: {BUILD}")
            }
            None => {
                skipped(&format!("needs the agent of the release profile, newer than its sources: {BUILD}"))
            }
        }
    }
    for (profile, agent) in measured {
        let [first, last] = memory_after_updates(agent, &script, directory.path());
        println!(
            "agent ({profile}) after {UPDATES} updates of {} kB and {DELTAS} deltas: {} kB resident, {} kB of them its \
             own ({} kB after the first)",
            script.len() / 1000,
            last.now / 1000,
            last.own / 1000,
            first.own / 1000,
        );
        let (before, after) = (first.own, last.own);
        assert!(
            after.saturating_sub(before) < GROWTH,
            "{before} bytes of its own became {after} ({profile})"
        );
        if profile == RELEASE {
            assert!(last.now < LIMIT, "{} bytes resident", last.now);
        }
    }
}

/// The memory of an agent that has applied one version of `script`, and many.
fn memory_after_updates(mut agent: Command, script: &str, directory: &Path) -> [Memory; 2] {
    let mut compiler = BlockingCompiler::start();
    agent.args(["--node", "n1", "--compiler", &compiler.url, "--nft", NFT, "--health-listen", "127.0.0.1:0"]);
    let agent = Process::start(agent, directory);
    let mut session = compiler.session();
    let taken = || memory(Some(agent.id())).unwrap();
    assert_eq!(session.ask(version(script, 0)).outcome, Outcome::Applied);
    let first = taken();
    for number in 1..UPDATES {
        assert_eq!(session.ask(version(script, number)).outcome, Outcome::Applied);
    }
    for number in UPDATES..UPDATES + DELTAS {
        assert_eq!(session.ask(delta(number)).outcome, Outcome::Applied);
    }
    [first, taken()]
}

fn revision(number: usize) -> Revision {
    Revision::of(ScriptHash::of(number.to_string().as_bytes()))
}

/// A pod that comes to be, on the state before.
fn delta(number: usize) -> Update {
    let (base, reached) = (revision(number - 1), revision(number));
    let (set, address) =
        ("pods4_0123456789abcdef0123456789abcdef", format!("10.9.{}.{}", number / 250, number % 250));
    let table = "inet flock_netpol";
    let script = Script::new(format!(
        "table {table} {{\n\tset {set} {{\n\t\ttypeof ip saddr\n\t\telements = {{\n\t\t\t{address}\n\t\t}}\n\t}}\n}}\n\
         delete set {table} rev_{base}\nadd set {table} rev_{reached} {{ typeof ip saddr; }}\n"
    ));
    Update::new(reached, UpdateKind::Delta { base, script })
}

/// The script with the marker of another revision.
fn version(script: &str, number: usize) -> Update {
    let revision = revision(number);
    let (body, marker) = script.rsplit_once(" rev_").unwrap();
    let (_, rest) = marker.split_once(' ').unwrap();
    let script = Script::new(format!("{body} rev_{revision} {rest}"));
    Update::new(revision, UpdateKind::Full(script))
}

/// A cluster of a thousand pods in namespaces with four policies each.
fn cluster() -> String {
    let mut text = String::new();
    let mut add = |document: std::fmt::Arguments<'_>| writeln!(text, "---\n{document}").unwrap();
    for pod in 0..LOCAL_PODS + REMOTE_PODS {
        let (namespace, app) = (pod % NAMESPACES, ["web", "api", "db", "job"][pod / NAMESPACES % 4]);
        let node = if pod < LOCAL_PODS { 1 } else { 2 + pod % 8 };
        let (high, low, port) = (pod / 250, pod % 250, 8000 + pod % 30);
        add(format_args!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: ns-{namespace}, name: pod-{pod}, labels: {{app: {app}}}}}\n\
             spec: {{nodeName: n{node}, containers: [{{ports: [{{name: http, containerPort: {port}}}]}}]}}\n\
             status: {{phase: Running, podIPs: [{{ip: 10.1.{high}.{low}}}, {{ip: 'fd00:1::{high}:{low}'}}]}}"
        ));
    }
    for namespace in 0..NAMESPACES {
        add(format_args!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: ns-{namespace}, labels: {{team: t{}}}}}}}",
            namespace % 5
        ));
        let mut policy = |name: &str, spec: &str| {
            add(format_args!(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                 metadata: {{namespace: ns-{namespace}, name: {name}}}\nspec: {spec}"
            ));
        };
        policy("deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}");
        policy(
            "dns",
            "{podSelector: {}, egress: [{ports: [{port: 53, protocol: UDP}, {port: 53}]}], policyTypes: [Egress]}",
        );
        policy(
            "web",
            "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}, \
             {namespaceSelector: {matchLabels: {team: t1}}}], ports: [{port: http}]}]}",
        );
        policy(
            "outside",
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: \
             {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12]}}], ports: [{port: 8000, endPort: 9000}]}]}",
        );
    }
    text
}

/// The packages that a package is built of.
fn dependencies(package: &str) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).args(["tree", "--offline", "--edges", "normal", "--prefix", "none"]);
    let output = cargo.args(["--package", package]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).unwrap();
    packages.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn the_agent_depends_on_no_kubernetes_client() {
    let is_kubernetes = |name: &&String| {
        name.starts_with("kube") || name.starts_with("k8s") || name.starts_with("flock-compiler")
    };
    let agent = dependencies("flock-node-agent");
    assert!(agent.iter().any(|name| name == "tonic"), "the list is one of packages: {agent:?}");
    assert_eq!(agent.iter().find(is_kubernetes), None);
    let compiler = dependencies("flock-compiler");
    assert!(compiler.iter().any(|name| is_kubernetes(&name)), "the compiler is recognized");
}

#[test]
fn what_only_tests_need_is_in_no_program() {
    let is_for_tests = |name: &&String| {
        ["flock-model", "flock-shapes", "flock-testkit", "proptest"].contains(&name.as_str())
    };
    for program in ["flock-compiler", "flockctl", "flock-node-agent", "flock-cni"] {
        let built_of = dependencies(program);
        assert!(built_of.iter().any(|name| name == program), "the list is one of packages: {built_of:?}");
        assert_eq!(built_of.iter().find(is_for_tests), None, "{program}");
    }
    assert!(dependencies("flock-model").iter().any(|name| is_for_tests(&name)), "the model is recognized");
}
