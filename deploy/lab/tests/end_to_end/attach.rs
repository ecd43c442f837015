//! A pod's start and end through CNI's plugin, the agent, the compiler and the API server, all of them real: its first
//! packet passes where it may and nowhere else, and the next pod with its address has its own rights only.

mod survival;

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use flock_lab::{Pod, Verdict};
use flock_testkit::{Kubelet, NODE_PODS, POD};
use serde_json::{Value, json};

use crate::ground::NODES;
use crate::support::process::Process;
use crate::support::programs::{CNI, program};
use crate::support::wait::wait_until;
use crate::two_nodes::TwoNodes;

/// Pods that start and end one after the other.
const PODS: usize = 12;

/// Two nodes whose agents relay, a server `db` on n2 that lets in what has the label `role: client`, and the default of
/// denying everything.
struct AttachCluster {
    agents: Vec<Process>,
    nodes: TwoNodes,
}

impl AttachCluster {
    fn new(tag: &str) -> Option<Self> {
        let client = json!({ "podSelector": { "matchLabels": { "role": "client" } } });
        let allow = json!({
            "metadata": { "namespace": "shop", "name": "allow" },
            "spec": { "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": [client] }] },
        });
        let nodes = TwoNodes::new(tag, &["shop"], allow, &[])?;
        let mut it = Self { agents: Vec::new(), nodes };
        it.agents = NODES.map(|node| it.agent(node)).into();
        it.put("db", "n2", "server");
        let db = it.nodes.db.clone();
        assert_eq!(it.add("n2", "db", &db), Ok(()), "the server is attached");
        Some(it)
    }

    fn socket(&self, node: &str) -> String {
        self.nodes.ground.directory().join(format!("cni-{node}.sock")).to_str().unwrap().to_owned()
    }

    fn agent(&self, node: &str) -> Process {
        let state = self.nodes.ground.directory().join(format!("state-{node}"));
        let (socket, state) = (self.socket(node), state.to_str().unwrap().to_owned());
        let options = ["--cni-socket", &socket, "--state-dir", &state];
        let agent = self.nodes.ground.agent(node, &self.nodes.compiler.url(), &options);
        wait_until("the agent's table", || self.nodes.ground.has_table(node));
        agent
    }

    /// A pod that is bound to a node, and whose kubelet has said nothing yet.
    fn put(&self, name: &str, node: &str, role: &str) {
        let labels = json!({ "role": role });
        self.nodes.api.put(
            POD,
            json!({
                "metadata": { "namespace": "shop", "name": name, "labels": labels },
                "spec": { "nodeName": node },
            }),
        );
    }

    /// Calls the plugin as a runtime does; its answer, or its error.
    fn call(&self, command: &str, node: &str, name: &str, pod: &Pod) -> Result<(), String> {
        let ips: Vec<Value> = pod
            .addresses()
            .iter()
            .map(|at| json!({ "address": format!("{at}/32"), "interface": 1 }))
            .collect();
        let result = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{ "name": pod.host_interface() }, { "name": "eth0", "sandbox": "/run/netns/x" }],
            "ips": ips,
        });
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "flock-cni",
            "socket": self.socket(node), "timeoutMs": 10_000, "onTimeout": "fail", "prevResult": result,
        });
        let object = self.nodes.api.server.store().get(POD, "shop", name).unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap();
        let arguments =
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};K8S_POD_UID={uid}");
        let mut plugin: Command = program(CNI);
        plugin
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", format!("sandbox-{name}"))
            .env("CNI_NETNS", "/run/netns/x")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/")
            .env("CNI_ARGS", arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut plugin = plugin.spawn().unwrap();
        plugin.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let output = plugin.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(said);
        }
        if command == "ADD" {
            assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), result, "handed on as it was");
        }
        Ok(())
    }

    fn add(&self, node: &str, name: &str, pod: &Pod) -> Result<(), String> {
        self.call("ADD", node, name, pod)
    }
}

#[test]
fn a_pod_is_isolated_and_connected_from_its_first_packet_and_its_address_is_the_next_ones() {
    let Some(cluster) = AttachCluster::new("attach") else { return };
    let pod = cluster.nodes.ground.pod("n1", "pod", "10.1.1.7");
    // It says what it is called some time after it runs, which says nothing new.
    let address: IpAddr = pod.addresses()[0];
    let start = async {
        Kubelet::start(&cluster.nodes.api.server, "n1", Duration::from_millis(200), move |_, _| Some(address))
    };
    let _kubelet = cluster.nodes.api.runtime.block_on(start);
    for number in 0..PODS {
        let (name, is_client) = (format!("pod-{number}"), number % 2 == 0);
        cluster.put(&name, "n1", if is_client { "client" } else { "stranger" });
        // What is sent while the call is under way.
        let done = AtomicBool::new(false);
        let early = thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut reached = false;
                while !done.load(Ordering::Relaxed) {
                    reached |= cluster.nodes.reaches(&pod) == Verdict::Reached;
                }
                reached
            });
            cluster.add("n1", &name, &pod).unwrap();
            done.store(true, Ordering::Relaxed);
            sending.join().unwrap()
        });
        let verdict = cluster.nodes.reaches(&pod);
        if is_client {
            assert_eq!(verdict, Verdict::Reached, "{name}");
        } else {
            assert!(!early && verdict == Verdict::Dropped, "{name}");
        }
        cluster.call("DEL", "n1", &name, &pod).unwrap();
        cluster.nodes.api.server.store().remove(POD, "shop", &name).unwrap();
    }
    let object = cluster.nodes.api.server.store().get(NODE_PODS, "", "n1").unwrap();
    let left = object["spec"]["sandboxes"].as_array().unwrap();
    assert!(left.iter().all(|entry| entry["detached"] == json!(true)), "{object}");
}

/// What the node's agent knows outlives it, the compiler and the object.
#[test]
fn nothing_is_lost_by_a_restart_of_anything() {
    let Some(mut cluster) = AttachCluster::new("attach-again") else { return };
    let pod = cluster.nodes.ground.pod("n1", "pod", "10.1.1.7");
    cluster.put("web", "n1", "client");
    cluster.add("n1", "web", &pod).unwrap();
    assert_eq!(cluster.nodes.reaches(&pod), Verdict::Reached);
    // The object is lost while nobody looks, as when an older etcd is restored.
    cluster.nodes.compiler.kill();
    cluster.agents.iter_mut().for_each(Process::kill);
    for node in NODES {
        cluster.nodes.api.server.store().remove(NODE_PODS, "", node).unwrap();
    }
    cluster.nodes.compiler.restart();
    cluster.agents = NODES.map(|node| cluster.agent(node)).into();
    for node in NODES {
        wait_until("what the agent knows is written down", || {
            cluster.nodes.api.server.store().get(NODE_PODS, "", node).is_some()
        });
    }
    wait_until("the pod is known again", || cluster.nodes.reaches(&pod) == Verdict::Reached);
    cluster.call("DEL", "n1", "web", &pod).unwrap();
    assert_eq!(cluster.nodes.reaches(&pod), Verdict::Dropped, "nobody has the address");
}

/// A node that cannot make a pod known says so, and the pod may start all the same.
#[test]
fn without_a_compiler_a_pod_starts_unless_that_is_refused_and_reaches_nothing() {
    let Some(mut cluster) = AttachCluster::new("attach-alone") else { return };
    let pod = cluster.nodes.ground.pod("n1", "pod", "10.1.1.7");
    cluster.put("web", "n1", "client");
    cluster.nodes.compiler.kill();
    let refused = cluster.add("n1", "web", &pod).unwrap_err();
    assert!(refused.contains("\"code\":11") || refused.contains("\"code\": 11"), "{refused}");
    assert_eq!(cluster.nodes.reaches(&pod), Verdict::Dropped);
    cluster.nodes.compiler.restart();
    wait_until("ADD to succeed", || cluster.add("n1", "web", &pod).is_ok());
    // ADD waits for the node of the server no longer than `--attach-wait`, and its agent may pause longer between two
    // attempts to reach a compiler that was away.
    wait_until("the server's node to know the pod", || cluster.nodes.reaches(&pod) == Verdict::Reached);
}
