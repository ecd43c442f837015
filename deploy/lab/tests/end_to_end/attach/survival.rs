//! Whatever is away or goes while a pod starts, the runtime gets on and nothing forbidden passes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use flock_testkit::Verb;

use super::*;
use crate::flockctl::Flockctl;

/// What the plugin is told for: by default a pod starts all the same.
struct Call<'a> {
    command: &'a str,
    container: &'a str,
    network: &'a str,
    keys: Value,
}

const fn call<'a>(command: &'a str, container: &'a str) -> Call<'a> {
    Call { command, container, network: "net", keys: Value::Null }
}

impl AttachCluster {
    /// Calls the plugin of n1 for a pod that `name` names; whether it succeeded.
    fn plugin(&self, what: &Call<'_>, name: &str, pod: &Pod) -> bool {
        let result = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{ "name": pod.host_interface() }, { "name": "eth0", "sandbox": "/run/netns/x" }],
            "ips": [{ "address": format!("{}/32", pod.addresses()[0]), "interface": 1 }],
        });
        let mut config = json!({
            "cniVersion": "1.1.0", "name": what.network, "type": "flock-cni", "socket": self.socket("n1"),
            "timeoutMs": 500, "prevResult": result,
        });
        if let (Some(config), Value::Object(keys)) = (config.as_object_mut(), what.keys.clone()) {
            config.extend(keys);
        }
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}");
        let mut plugin: Command = program(CNI);
        plugin.env("CNI_COMMAND", what.command).env("CNI_CONTAINERID", what.container).env("CNI_ARGS", args);
        plugin.env("CNI_NETNS", "/run/netns/x").env("CNI_IFNAME", "eth0").env("CNI_PATH", "/");
        plugin.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut plugin = plugin.spawn().unwrap();
        plugin.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        plugin.wait().unwrap().success()
    }

    /// Whether a pod that may not reach the server does at any moment while something is done.
    fn holds(&self, stranger: &Pod, what: &str, during: impl FnOnce()) {
        let done = AtomicBool::new(false);
        let reached = thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut reached = false;
                while !done.load(Ordering::Relaxed) {
                    reached |= self.nodes.reaches(stranger) == Verdict::Reached;
                }
                reached
            });
            during();
            done.store(true, Ordering::Relaxed);
            sending.join().unwrap()
        });
        assert!(!reached, "{what}: something forbidden passed");
        assert_eq!(self.nodes.reaches(stranger), Verdict::Dropped, "{what}");
    }

    /// An agent that takes calls to the compiler: the plugin waits for half a second only, in which a busy machine starts none.
    fn connected_agent(&self, node: &str) -> Process {
        let flockctl = Flockctl::new(self.nodes.compiler.url());
        wait_until("the compiler to notice", || !flockctl.node(node).connected);
        let agent = self.agent(node);
        wait_until("the agent", || flockctl.node(node).connected);
        agent
    }

    fn reached_in_the_end(&self, what: &str, client: &Pod) {
        wait_until(what, || self.nodes.reaches(client) == Verdict::Reached);
    }
}

#[test]
fn nothing_forbidden_passes_whatever_goes_while_a_pod_starts() {
    let Some(mut cluster) = AttachCluster::new("attach-survive") else { return };
    let stranger = cluster.nodes.ground.pod("n1", "stranger", "10.1.1.7");
    let client = cluster.nodes.ground.pod("n1", "client", "10.1.1.8");
    cluster.put("stranger", "n1", "stranger");
    cluster.put("client", "n1", "client");
    let both = |cluster: &AttachCluster, call: &Call<'_>| {
        assert!(cluster.plugin(call, "stranger", &stranger), "the runtime gets on");
        let container = format!("{}-2", call.container);
        let other = Call { container: &container, keys: call.keys.clone(), ..*call };
        assert!(cluster.plugin(&other, "client", &client), "the runtime gets on");
    };

    // The agent is gone, and nobody knows the pods.
    cluster.agents[0].kill();
    cluster.holds(&stranger, "no agent", || both(&cluster, &call("ADD", "gone")));
    assert_eq!(cluster.nodes.reaches(&client), Verdict::Dropped, "nobody knows it");
    cluster.agents[0] = cluster.connected_agent("n1");
    // The kubelet starts anew, and makes sandboxes anew.
    cluster.holds(&stranger, "a kubelet's restart", || both(&cluster, &call("ADD", "a")));
    cluster.reached_in_the_end("the client", &client);
    cluster.holds(&stranger, "the end of the sandboxes before", || both(&cluster, &call("DEL", "gone")));
    assert_eq!(cluster.nodes.reaches(&client), Verdict::Reached, "its sandbox is another one");

    // Garbage of another network is none of this one.
    let collect =
        |network| Call { network, keys: json!({ "cni.dev/valid-attachments": [] }), ..call("GC", "") };
    assert!(cluster.plugin(&collect("other"), "client", &client));
    assert_eq!(cluster.nodes.reaches(&client), Verdict::Reached);
    assert!(cluster.plugin(&collect("net"), "client", &client));
    assert_eq!(cluster.nodes.reaches(&client), Verdict::Dropped, "nobody has its address");

    // The socket is gone; the agent makes it anew.
    fs::remove_file(cluster.socket("n1")).unwrap();
    cluster.holds(&stranger, "no socket", || both(&cluster, &call("ADD", "b")));
    wait_until("the socket", || fs::exists(cluster.socket("n1")).unwrap());
    cluster.holds(&stranger, "two ADDs of one sandbox", || both(&cluster, &call("ADD", "b")));
    cluster.reached_in_the_end("the client", &client);
    let shown = || -> Value { Flockctl::new(cluster.nodes.compiler.url()).json(&["output", "n1"]) };
    let of_client = |shown: &Value| {
        let all = shown["attached"].as_array().unwrap();
        all.iter().find(|it| it["pod"] == "shop/client").unwrap().clone()
    };
    let known = of_client(&shown());
    assert_eq!((&known["addresses"], &known["detached"]), (&json!(["10.1.1.8"]), &json!(false)));
    assert_eq!(known["interface"], client.host_interface());
    for _ in 0..2 {
        cluster.holds(&stranger, "DEL, and once more", || both(&cluster, &call("DEL", "b")));
        assert_eq!(cluster.nodes.reaches(&client), Verdict::Dropped);
    }
    assert_eq!(of_client(&shown())["detached"], true, "its object is still there");

    // The API server is gone, and comes back.
    cluster.nodes.api.server.go_away();
    cluster.holds(&stranger, "no API server", || both(&cluster, &call("ADD", "c")));
    cluster.nodes.api.server.come_back();
    cluster.reached_in_the_end("what is written down late", &client);
    assert_eq!(cluster.nodes.reaches(&stranger), Verdict::Dropped);
    both(&cluster, &call("DEL", "c"));

    // The agent goes between the call and its answer; the next one goes on with it.
    for verb in [Verb::Create, Verb::Update] {
        cluster.nodes.api.server.faults().delay(NODE_PODS, verb, Duration::from_millis(700));
    }
    let mut agent = cluster.agents.remove(0);
    cluster.holds(&stranger, "an agent that is killed", || {
        let long = Call { keys: json!({ "timeoutMs": 5000 }), ..call("ADD", "d") };
        thread::scope(|scope| {
            let starting = scope.spawn(|| both(&cluster, &long));
            thread::sleep(Duration::from_millis(200));
            agent.kill();
            starting.join().unwrap();
        });
    });
    cluster.nodes.api.server.faults().mend();
    cluster.agents.insert(0, cluster.connected_agent("n1"));
    cluster.holds(&stranger, "the next agent", || both(&cluster, &call("ADD", "d")));
    cluster.reached_in_the_end("the client", &client);
    both(&cluster, &call("DEL", "d"));

    // The table is gone, and is put back while the pods start.
    cluster.nodes.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
    let patient = Call { keys: json!({ "timeoutMs": 10_000, "onTimeout": "fail" }), ..call("ADD", "e") };
    both(&cluster, &patient);
    assert_eq!(cluster.nodes.reaches(&client), Verdict::Reached, "as soon as it is said to be known");
    assert_eq!(cluster.nodes.reaches(&stranger), Verdict::Dropped);
}

/// The node has no rules until its agent is back, and nobody is there who could say what the newest are.
#[test]
fn after_a_boot_a_pod_starts_behind_the_restored_table_also_without_a_compiler() {
    let Some(mut cluster) = AttachCluster::new("attach-boot") else { return };
    let stranger = cluster.nodes.ground.pod("n1", "stranger", "10.1.1.7");
    cluster.put("stranger", "n1", "stranger");
    assert_eq!(cluster.nodes.reaches(&stranger), Verdict::Dropped);
    cluster.nodes.compiler.kill();
    cluster.agents.iter_mut().for_each(Process::kill);
    for node in NODES {
        cluster.nodes.ground.node(node).nft("delete table inet flock_netpol").unwrap();
        fs::remove_file(cluster.socket(node)).unwrap();
    }
    assert_eq!(cluster.nodes.reaches(&stranger), Verdict::Reached, "nothing judges");

    let keys = json!({ "socket": cluster.socket("n2"), "timeoutMs": 8000 });
    let start = Call { keys, ..call("ADD", "boot") };
    let agent = thread::scope(|scope| {
        let starting = scope.spawn(|| cluster.plugin(&start, "db", &cluster.nodes.db));
        // It has been at it for a while.
        thread::sleep(Duration::from_millis(300));
        assert!(!starting.is_finished(), "there is no agent");
        let agent = cluster.agent("n2");
        assert!(starting.join().unwrap(), "the runtime gets on");
        agent
    });
    assert_eq!(cluster.nodes.reaches(&stranger), Verdict::Dropped);
    cluster.agents.push(agent);
}
