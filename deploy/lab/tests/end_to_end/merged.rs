//! Two replicas that follow one API server, and agents with either: what flockctl and the metrics make of that.

use flock_shared::access::{NAMESPACE as OURS, SERVICE};
use flock_testkit::{NETWORK_POLICY, POD};
use serde_json::{Value, json};

use crate::api::Api;
use crate::compiler::Compiler;
use crate::flockctl::Flockctl;
use crate::ground::{Ground, NODES};
use crate::shop::allow;
use crate::support::process::Process;
use crate::support::wait::wait_until;

/// A node's name, state, and the replica that it is with.
fn states(flockctl: &Flockctl) -> Vec<(String, String, Option<String>)> {
    flockctl.nodes().into_iter().map(|node| (node.node, node.state, node.replica)).collect()
}

fn is(node: &str, state: &str, replica: Option<&str>) -> (String, String, Option<String>) {
    (node.to_owned(), state.to_owned(), replica.map(str::to_owned))
}

#[test]
fn nodes_of_two_replicas_are_one_table_and_a_watch_follows_an_agent() {
    let Some(ground) = Ground::new("merged") else { return };
    let api = Api::with_shop();
    api.put(NETWORK_POLICY, allow("web"));
    // What tells the compilers how many they are.
    for name in ["compiler-a", "compiler-b"] {
        let metadata =
            json!({ "namespace": OURS, "name": name, "labels": { "app.kubernetes.io/name": SERVICE } });
        api.put(POD, json!({ "metadata": metadata, "spec": { "nodeName": "n1", "hostNetwork": true } }));
    }
    let kubeconfig = api.server.write_kubeconfig(ground.directory()).unwrap();
    let start = || Compiler::start(["--kubeconfig", kubeconfig.to_str().unwrap()], ground.directory());
    let (mut first, second) = (start(), start());
    for compiler in [&first, &second] {
        wait_until("both replicas", || compiler.admin("/readyz").0 == 200);
    }
    let urls = [first.url(), second.url()].map(|url| format!("{url}/"));
    let both = Flockctl::of(&urls);

    // Each node's agent is with another replica; that of n1 knows of both.
    let on_second = ground.agent("n2", &second.url(), &[]);
    let mut agent = ground.agent("n1", &first.url(), &[]);
    let current = [is("n1", "current", Some(&urls[0])), is("n2", "current", Some(&urls[1]))];
    wait_until("both nodes", || states(&both) == current);
    let run = both.run(&["nodes"]);
    let (table, told) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert_eq!((run.status.code(), told.as_str()), (Some(0), ""));
    assert!(table.contains("2 of 2 nodes enforce the desired revision; asked 2 of 2 replicas"), "{table}");
    assert_eq!(both.json::<Vec<Value>>(&["nodes", "--behind"]), [Value::Null; 0]);

    // Through one of the two.
    let alone = Flockctl::new(first.url());
    assert_eq!(states(&alone), [current[0].clone(), is("n2", "not known", None)]);
    let run = alone.run(&["nodes"]);
    let told = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(told, "flockctl: asked 1 of 2 replicas; nodes that others serve are not known\n");
    let count = |compiler: &Compiler, state: &str| {
        compiler.metric(&format!("flock_compiler_nodes{{state=\"{state}\"}}"))
    };
    let [of_first, of_second] = [&first, &second]
        .map(|compiler| ["current", "not known", "offline", "no agent"].map(|state| count(compiler, state)));
    assert_eq!(of_first, [Some(1.0), Some(1.0), Some(0.0), Some(0.0)]);
    assert_eq!(of_second, of_first);

    // What is behind is told with since when.
    ground.refuse_scripts("n2", true);
    api.put(NETWORK_POLICY, allow("db"));
    let behind = || both.json::<Vec<Value>>(&["nodes", "--behind"]);
    wait_until("the failure", || {
        behind()
            .iter()
            .any(|row| row["node"] == "n2" && row["state"] == "failing" && row["behind_since"].is_string())
    });
    wait_until("n1", || behind().len() == 1);
    assert_eq!(both.run(&["nodes", "--behind"]).status.code(), Some(1));
    ground.refuse_scripts("n2", false);
    wait_until("both nodes", || states(&both) == current);
    assert!(both.nodes().iter().all(|node| node.behind_since.is_none()));

    // The agent goes to the other replica, and the watch with it; then its replica goes as well.
    let mut watch = Process::start(both.command(&["watch", "n1", "-o", "json"]), ground.directory());
    watch.line(&format!("\"replica\":\"{}\"", urls[0]));
    assert!(agent.terminate().success());
    watch.line("\"state\":\"offline\"");
    let _agent = ground.agent("n1", &second.url(), &[]);
    let line = watch.line(&format!("\"replica\":\"{}\"", urls[1]));
    let row: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&row["node"], &row["connected"]), (&"n1".into(), &true.into()));
    first.kill();
    watch.line("asking again");
    api.put(NETWORK_POLICY, allow("web"));
    let desired = || both.node("n1").desired_revision.unwrap();
    wait_until("a change at the other replica", || watch.log().matches(&desired()).count() >= 2);

    let run = both.run(&["nodes"]);
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(told.contains(&format!("flockctl: {} was not asked: ", urls[0])), "{told}");
    assert!(told.contains("asked 1 of 2 replicas"), "{told}");
    wait_until("both nodes at one replica", || {
        states(&both) == NODES.map(|node| is(node, "current", Some(&urls[1])))
    });
    assert_eq!(both.run(&["nodes"]).status.code(), Some(0), "each is served by who was asked");
    drop(on_second);
}
