//! Two replicas of the compiler that follow one API server, killed in turn: the rules of a node never go back.

use std::fs;

use flock_testkit::{NAMESPACE, NETWORK_POLICY, NODE, POD, Proxy};
use serde_json::json;

use crate::api::Api;
use crate::compiler::Compiler;
use crate::flockctl::Flockctl;
use crate::ground::Ground;
use crate::shop::{allow, pod};
use crate::site::settle;
use crate::support::process::Process;
use crate::support::wait::wait_until;

/// The revisions that an agent has applied, in order.
fn applied(agent: &Process) -> Vec<String> {
    let log = agent.log();
    let done = log.lines().filter(|line| line.contains("outcome=applied"));
    done.map(|line| line.split('"').find(|word| word.len() == 32).unwrap().to_owned()).collect()
}

/// Returns true if the agent of a replica had what that wants, and was only asked to look at its connections.
fn agrees(replica: &Compiler) -> bool {
    let acks = |outcome: &str| replica.metric(&format!("flock_compiler_acks_total{{outcome=\"{outcome}\"}}"));
    acks("unchanged").is_some_and(|count| count >= 1.0) && acks("applied") == Some(0.0)
}

#[test]
fn a_node_whose_compilers_are_killed_in_turn_never_goes_back() {
    let Some(ground) = Ground::new("replicas") else { return };
    let api = Api::start();
    api.put(NODE, json!({ "metadata": { "name": "n1" } }));
    api.put(NAMESPACE, json!({ "metadata": { "name": "shop" } }));
    api.put(POD, pod("web", "n1", "10.1.0.2"));
    api.put(POD, pod("db", "n1", "10.1.0.4"));
    api.put(NETWORK_POLICY, allow("web"));
    let scratch = ground.directory().join("listed.json");
    let revision = || api.revision(&scratch, "n1");

    // Two ways to the API server, one of which can be held up.
    let proxy = api.runtime.block_on(Proxy::start(api.server.address())).unwrap();
    let direct = api.server.write_kubeconfig(ground.directory()).unwrap();
    let through_proxy = ground.directory().join("kubeconfig-proxy");
    let config = fs::read_to_string(&direct).unwrap();
    fs::write(&through_proxy, config.replace(&api.server.url(), &format!("http://{}", proxy.address())))
        .unwrap();
    let start = |kubeconfig: &std::path::Path| {
        Compiler::start(["--kubeconfig", kubeconfig.to_str().unwrap()], ground.directory())
    };
    let (mut ahead, mut behind) = (start(&direct), start(&through_proxy));
    for compiler in [&ahead, &behind] {
        wait_until("both replicas", || compiler.admin("/readyz").0 == 200);
    }
    let (at_ahead, at_behind) = (Flockctl::new(ahead.url()), Flockctl::new(behind.url()));

    // Whichever the agent begins with: it is to be the one that will be ahead.
    behind.kill();
    let agent = ground.agent("n1", &format!("{},{}", ahead.url(), behind.url()), &[]);
    let first = revision();
    settle(&ground, &at_ahead, "n1", &first);
    behind.restart();
    wait_until("both replicas", || behind.admin("/readyz").0 == 200);

    proxy.hold();
    api.put(NETWORK_POLICY, allow("db"));
    let second = revision();
    settle(&ground, &at_ahead, "n1", &second);
    ahead.kill();
    wait_until("the agent to wait", || behind.metric("flock_compiler_waiting") == Some(1.0));
    assert!(ground.holds("n1", &second), "the other replica has not heard of it yet");
    proxy.release();
    settle(&ground, &at_behind, "n1", &second);
    assert!(agrees(&behind), "and then agrees");

    api.put(POD, pod("cache", "n1", "10.1.0.5"));
    let third = revision();
    settle(&ground, &at_behind, "n1", &third);
    ahead.restart();
    wait_until("both replicas", || ahead.admin("/readyz").0 == 200);
    behind.kill();
    settle(&ground, &at_ahead, "n1", &third);
    assert!(agrees(&ahead));

    assert_eq!(applied(&agent), [first, second, third], "each once, and none again");
    assert_eq!(ground.scripts("n1"), 3);
}
