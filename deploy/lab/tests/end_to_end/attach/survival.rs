//! Whatever is away or goes while a pod starts, the runtime gets on and nothing forbidden passes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
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

impl Cluster {
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
                    reached |= self.reaches(stranger) == Verdict::Reached;
                }
                reached
            });
            during();
            done.store(true, Ordering::Relaxed);
            sending.join().unwrap()
        });
        assert!(!reached, "{what}: something forbidden passed");
        assert_eq!(self.reaches(stranger), Verdict::Dropped, "{what}");
    }

    fn reached_in_the_end(&self, what: &str, client: &Pod) {
        wait_until(what, || self.reaches(client) == Verdict::Reached);
    }
}

#[test]
fn nothing_forbidden_passes_whatever_goes_while_a_pod_starts() {
    let Some(mut cluster) = Cluster::new("attach-survive") else { return };
    let stranger = cluster.ground.pod("n1", "stranger", "10.1.1.7");
    let client = cluster.ground.pod("n1", "client", "10.1.1.8");
    cluster.put("stranger", "n1", "stranger");
    cluster.put("client", "n1", "client");
    let both = |cluster: &Cluster, call: &Call<'_>| {
        assert!(cluster.plugin(call, "stranger", &stranger), "the runtime gets on");
        let container = format!("{}-2", call.container);
        let other = Call { container: &container, keys: call.keys.clone(), ..*call };
        assert!(cluster.plugin(&other, "client", &client), "the runtime gets on");
    };

    // The agent is gone, and nobody knows the pods.
    cluster.agents[0].kill();
    cluster.holds(&stranger, "no agent", || both(&cluster, &call("ADD", "gone")));
    assert_eq!(cluster.reaches(&client), Verdict::Dropped, "nobody knows it");
    cluster.agents[0] = cluster.agent("n1");
    // The kubelet starts anew, and makes sandboxes anew.
    cluster.holds(&stranger, "a kubelet's restart", || both(&cluster, &call("ADD", "a")));
    cluster.reached_in_the_end("the client", &client);
    cluster.holds(&stranger, "the end of the sandboxes before", || both(&cluster, &call("DEL", "gone")));
    assert_eq!(cluster.reaches(&client), Verdict::Reached, "its sandbox is another one");

    // Garbage of another network is none of this one.
    let collect =
        |network| Call { network, keys: json!({ "cni.dev/valid-attachments": [] }), ..call("GC", "") };
    assert!(cluster.plugin(&collect("other"), "client", &client));
    assert_eq!(cluster.reaches(&client), Verdict::Reached);
    assert!(cluster.plugin(&collect("net"), "client", &client));
    assert_eq!(cluster.reaches(&client), Verdict::Dropped, "nobody has its address");

    // The socket is gone; the agent makes it anew.
    fs::remove_file(cluster.socket("n1")).unwrap();
    cluster.holds(&stranger, "no socket", || both(&cluster, &call("ADD", "b")));
    wait_until("the socket", || fs::exists(cluster.socket("n1")).unwrap());
    cluster.holds(&stranger, "two ADDs of one sandbox", || both(&cluster, &call("ADD", "b")));
    cluster.reached_in_the_end("the client", &client);
    let shown = || -> Value { Flockctl::new(cluster.compiler.url()).json(&["output", "n1"]) };
    let of_client = |shown: &Value| {
        let all = shown["attached"].as_array().unwrap();
        all.iter().find(|it| it["pod"] == "shop/client").unwrap().clone()
    };
    let known = of_client(&shown());
    assert_eq!((&known["addresses"], &known["detached"]), (&json!(["10.1.1.8"]), &json!(false)));
    assert_eq!(known["interface"], client.host_interface());
    for _ in 0..2 {
        cluster.holds(&stranger, "DEL, and once more", || both(&cluster, &call("DEL", "b")));
        assert_eq!(cluster.reaches(&client), Verdict::Dropped);
    }
    assert_eq!(of_client(&shown())["detached"], true, "its object is still there");

    // The API server is gone, and comes back.
    cluster.api.server.go_away();
    cluster.holds(&stranger, "no API server", || both(&cluster, &call("ADD", "c")));
    cluster.api.server.come_back();
    cluster.reached_in_the_end("what is written down late", &client);
    assert_eq!(cluster.reaches(&stranger), Verdict::Dropped);
    both(&cluster, &call("DEL", "c"));

    // The agent goes between the call and its answer; the next one goes on with it.
    for verb in [Verb::Create, Verb::Update] {
        cluster.api.server.faults().delay(NODE_PODS, verb, Duration::from_millis(700));
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
    cluster.api.server.faults().mend();
    cluster.agents.insert(0, cluster.agent("n1"));
    cluster.holds(&stranger, "the next agent", || both(&cluster, &call("ADD", "d")));
    cluster.reached_in_the_end("the client", &client);
    both(&cluster, &call("DEL", "d"));

    // The table is gone, and is put back while the pods start.
    cluster.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
    let patient = Call { keys: json!({ "timeoutMs": 10_000, "onTimeout": "fail" }), ..call("ADD", "e") };
    both(&cluster, &patient);
    assert_eq!(cluster.reaches(&client), Verdict::Reached, "as soon as it is said to be known");
    assert_eq!(cluster.reaches(&stranger), Verdict::Dropped);
}
