//! What flockctl shows: nodes in every state, scripts, outputs and changes, for people and for programs.

use std::path::Path;

use flock_shared::{Script, ScriptHash};
use serde_json::Value;

use crate::compiler::Compiler;
use crate::flockctl::{Flockctl, NodeStatus};
use crate::ground::NODES;
use crate::manifests::{ALLOW_WEB, CLUSTER, DENY, Manifests};
use crate::site::Site;
use crate::support::process::Process;
use crate::support::wait::wait_until;

/// A compiler without agents, which needs no root.
fn alone(directory: &Path) -> (Manifests, Compiler, Flockctl) {
    let manifests = Manifests::new(directory);
    manifests.put("cluster.yaml", &format!("{CLUSTER}---\n{DENY}---\n{ALLOW_WEB}"));
    let compiler = Compiler::start(["--manifests", manifests.path()], directory);
    wait_until("a ready compiler", || compiler.admin("/readyz").0 == 200);
    let flockctl = Flockctl::new(compiler.url());
    (manifests, compiler, flockctl)
}

#[test]
fn nodes_are_listed_in_every_state() {
    let Some(site) = Site::new("states") else { return };
    site.manifests.put("policies.yaml", DENY);
    let mut agent = site.agent("n1", &[]);
    site.settle_node("n1", &site.manifests.revision("n1"));
    // An agent of a node that no object names: it has a table without subjects.
    let stranger = site.ground.agent_named("n3", "n2", &site.compiler.url(), &[]);
    let applied =
        |node: &NodeStatus| node.applied_revision.is_some() && node.applied_revision == node.desired_revision;
    wait_until("the stranger", || {
        site.flockctl.nodes().iter().any(|node| node.node == "n3" && applied(node))
    });

    let nodes = site.flockctl.nodes();
    let names: Vec<_> = nodes.iter().map(|node| node.node.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    let [n1, n2, n3] = [&nodes[0], &nodes[1], &nodes[2]];
    assert!(n1.current && n1.connected && n1.isolated_pods == 2, "{n1:?}");
    assert!(!n1.agent_version.is_empty() && n1.nft_version.starts_with("nftables v"), "{n1:?}");
    assert_eq!(n1.last_outcome, None);
    assert!(!n2.current && !n2.connected && n2.isolated_pods == 1, "{n2:?}");
    assert_eq!((n2.applied_revision.as_ref(), n2.agent_version.as_str()), (None, ""));
    assert!(n2.desired_revision.is_some());
    assert!(!n1.unknown && !n2.unknown);
    assert!(
        n3.unknown && !n3.current && n3.isolated_pods == 0,
        "what nothing names may be a wrong name: {n3:?}"
    );
    assert!(site.compiler.process.log().contains("no Node object and no pod has this name"));

    agent.kill();
    wait_until("the compiler to notice", || !site.flockctl.node("n1").connected);
    let gone = site.flockctl.node("n1");
    assert!(gone.current, "what stood when it was last heard of: {gone:?}");
    let table = site.flockctl.text(&["nodes"]);
    let state = |node: &str| {
        let line = table.lines().find(|line| line.starts_with(node)).unwrap();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).nth(1).unwrap().to_owned()
    };
    assert_eq!([state("n1"), state("n2"), state("n3")], ["offline", "no agent", "unknown"], "{table}");
    for state in ["offline", "no agent", "unknown"] {
        let series = format!("flock_compiler_nodes{{state=\"{state}\"}}");
        assert_eq!(site.compiler.metric(&series), Some(1.0), "the same words as in the table");
    }
    assert!(gone.behind_since.is_some() && n1.behind_since.is_none(), "since it left: {gone:?}");

    // A wrong name is nothing that the cluster has: it goes with its agent.
    drop(stranger);
    wait_until("the stranger to be forgotten", || site.flockctl.nodes().len() == 2);
    assert!(site.flockctl.complaint(2, &["script", "n3"]).contains("no node \"n3\""));
    assert_eq!(site.compiler.metric("flock_compiler_nodes{state=\"unknown\"}"), Some(0.0));
    assert_eq!(site.flockctl.run(&["nodes"]).status.code(), Some(1));
}

#[test]
fn a_change_is_a_line_of_watch() {
    let Some(site) = Site::new("watch") else { return };
    let _agents = site.agents();
    site.settle();
    let watch = |options: &[&str]| {
        let command = site.flockctl.command(&[&["watch", "n1"], options].concat());
        Process::start(command, site.ground.directory())
    };
    let [mut table, mut json, mut yaml] = [watch(&[]), watch(&["-o", "json"]), watch(&["-o", "yaml"])];
    let before = site.manifests.revision("n1");
    table.line(&before[..12]);
    json.line(&before);
    yaml.line(&before);

    site.manifests.put("policies.yaml", DENY);
    let after = site.manifests.revision("n1");
    let applied = format!("\"applied_revision\":\"{after}\"");
    let line: Value = serde_json::from_str(&json.line(&applied)).unwrap();
    assert_eq!((&line["node"], &line["current"]), (&Value::from("n1"), &Value::from(true)));
    wait_until("a row of a current node", || {
        table.log().lines().any(|row| row.contains("current") && row.matches(&after[..12]).count() == 2)
    });
    yaml.line(&format!("applied_revision: {after}"));
    let heading = table.log().lines().next().unwrap().to_owned();
    assert!(heading.starts_with("NODE") && heading.contains("APPLIED"), "{heading}");

    // The end of the compiler is the end of the watch, which was to go on.
    drop(site.compiler);
    assert_eq!(json.ended().code(), Some(1));
    assert!(json.log().contains("flockctl: "), "{}", json.log());
}

#[test]
fn scripts_are_those_of_render_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let (manifests, _compiler, flockctl) = alone(directory.path());
    for node in NODES {
        let rendered = manifests.render(node);
        assert_eq!(flockctl.text(&["script", node]).as_bytes(), rendered);
        let script: Value = flockctl.json(&["script", node]);
        assert_eq!(script["script"].as_str().unwrap().as_bytes(), rendered);
        assert_eq!(script["revision"].as_str(), flockctl.node(node).desired_revision.as_deref());
        assert_eq!(script["revision"].as_str().unwrap(), manifests.revision(node));
        let hash: ScriptHash = Script::new(rendered).hash();
        assert_eq!(script["sha256"].as_str().unwrap(), hash.to_string());
    }
}

#[test]
fn every_answer_is_json_and_yaml_of_the_same_content() {
    let directory = tempfile::tempdir().unwrap();
    let (manifests, _compiler, flockctl) = alone(directory.path());
    manifests.put("broken.yaml", "}");
    wait_until("a problem", || !flockctl.problems().is_empty());
    for arguments in [&["nodes"][..], &["problems"], &["script", "n1"], &["output", "n1"]] {
        let json: Value = flockctl.json(arguments);
        let yaml: Value = flockctl.yaml(arguments);
        assert_eq!(json, yaml, "{arguments:?}");
        assert!(json.as_array().is_none_or(|items| !items.is_empty()), "{arguments:?}");
    }
    let output: Value = flockctl.json(&["output", "n1"]);
    assert_eq!(output["subjects"].as_array().unwrap().len(), 2, "{output}");
    let table = flockctl.text(&["output", "n1"]);
    for shown in ["10.1.0.2", "shop/web", "closed", "TCP 80"] {
        assert!(table.contains(shown), "{shown}: {table}");
    }
}

#[test]
fn complaints_are_clear_and_say_whose_fault_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (_manifests, mut compiler, flockctl) = alone(directory.path());
    for command in ["script", "output", "watch"] {
        let complaint = flockctl.complaint(2, &[command, "nowhere"]);
        assert!(complaint.starts_with("flockctl: no node \"nowhere\""), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        let complaint = flockctl.complaint(2, &[command, "No Node"]);
        assert!(complaint.starts_with("flockctl: node: "), "{complaint}");
    }
    for arguments in [&["problems", "-n", "nosuch"][..], &["nodes", "-n", "nosuch"]] {
        assert_eq!(flockctl.complaint(2, arguments), "flockctl: no namespace \"nosuch\"\n");
    }
    assert_eq!(flockctl.text(&["problems", "-n", "shop"]), "no problems in namespace shop\n");
    compiler.kill();
    for arguments in [&["nodes"][..], &["problems"], &["script", "n1"]] {
        let complaint = flockctl.complaint(3, arguments);
        assert!(
            complaint.contains(&format!("cannot reach the compiler at {}", compiler.url())),
            "{complaint}"
        );
        assert!(complaint.contains("refused"), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}
