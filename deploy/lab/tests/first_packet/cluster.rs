//! Nodes with real CNI plugins, whose last one is ours, real agents, and a real compiler that follows an API server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use flock_lab::cni::{Attachment, CniError, Runtime, reference_plugins};
use flock_lab::{Family, Lab, Node, Sandbox, skipped};
use flock_testkit::{NAMESPACE, NODE, POD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::compiler::Compiler;
use crate::support::process::Process;
use crate::support::programs::{AGENT, CNI, profile_directory, program};
use crate::support::wait::wait_until;

/// How long the plugin waits before it fails: far beyond what a slow machine needs.
const PATIENCE_MS: u32 = 60_000;

/// What gives pods their network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Main {
    /// A pair of interfaces and a route for each pod.
    Ptp,
    /// Pods are ports of a bridge.
    Bridge,
}

/// What a cluster is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Shows in names.
    pub(crate) tag: &'static str,
    pub(crate) main: Main,
    pub(crate) nodes: usize,
    /// Compilers; the agents take turns.
    pub(crate) replicas: usize,
    /// `--unready-pods`.
    pub(crate) unready: &'static str,
    /// `--attach-wait`.
    pub(crate) attach_wait: &'static str,
    /// `--log` of agents.
    pub(crate) log: &'static str,
}

/// A network of a node: the last numbers of its addresses, of both families.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    pub(crate) name: &'static str,
    pub(crate) first: u8,
    pub(crate) last: u8,
}

impl Pool {
    /// What the pod gets that is attached as such a number one after the other, if it is free by then.
    pub(crate) fn turn(self, node: usize, number: usize) -> [IpAddr; 2] {
        let turn = number % usize::from(self.last - self.first + 1);
        addresses(node, usize::from(self.first) + turn)
    }
}

/// The addresses with such a number on a node, counted from 0.
pub(crate) fn addresses(node: usize, number: usize) -> [IpAddr; 2] {
    let [node, number] = [node + 1, number].map(|part| u8::try_from(part).unwrap());
    let v6 = Ipv6Addr::new(0xfd00, 9, node.into(), 0, 0, 0, 0, number.into());
    [Ipv4Addr::new(10, 9, node, number).into(), v6.into()]
}

/// The blocks of a node.
fn blocks(node: usize) -> [String; 2] {
    addresses(node, 0).map(|base| format!("{base}/{}", if base.is_ipv4() { 24 } else { 64 }))
}

/// All of it. Agents end first, and the nodes last.
pub(crate) struct Cluster {
    pub(crate) agents: Vec<Process>,
    pub(crate) compilers: Vec<Compiler>,
    pub(crate) api: Api,
    pub(crate) nodes: Vec<Node>,
    pub(crate) directory: TempDir,
    plugins: PathBuf,
    main: Main,
    _lab: Lab,
}

impl Cluster {
    /// Nothing where it cannot be, which is said.
    pub(crate) fn new(plan: Plan) -> Option<Self> {
        let plugins = match Lab::available().and_then(|()| reference_plugins()) {
            Ok(plugins) => plugins,
            Err(reason) => {
                skipped(&reason);
                return None;
            }
        };
        // So that it is there, and newer than its sources.
        drop(program(CNI));
        let lab = Lab::new(plan.tag).unwrap();
        let nodes: Vec<Node> =
            (1..=plan.nodes).map(|number| lab.node(&format!("n{number}")).unwrap()).collect();
        route(&nodes);
        let (api, directory) = (Api::start(), tempfile::tempdir().unwrap());
        for (number, node) in nodes.iter().enumerate() {
            let spec = json!({ "podCIDRs": blocks(number) });
            api.put(NODE, json!({ "metadata": { "name": node.name() }, "spec": spec }));
        }
        let kubeconfig = api.server.write_kubeconfig(directory.path()).unwrap();
        let options = [
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--unready-pods",
            plan.unready,
            "--attach-wait",
            plan.attach_wait,
        ];
        let compilers = (0..plan.replicas).map(|_| Compiler::start(options, directory.path())).collect();
        let mut it = Self {
            agents: Vec::new(),
            compilers,
            api,
            nodes,
            directory,
            plugins,
            main: plan.main,
            _lab: lab,
        };
        it.agents = (0..plan.nodes).map(|number| it.agent(number, plan)).collect();
        Some(it)
    }

    fn agent(&self, number: usize, plan: Plan) -> Process {
        let node = &self.nodes[number];
        let compiler = &self.compilers[number % plan.replicas];
        let mut command = program(AGENT);
        command.args(["--node", node.name(), "--compiler", &compiler.url(), "--nft", &node.nft_command()]);
        command.args(["--cni-socket", self.socket(number).to_str().unwrap(), "--log", plan.log]);
        command.arg("--state-dir").arg(self.directory.path().join(format!("state-{}", node.name())));
        // Frames between pods on a bridge are the rules' business.
        command.args(["--bridge-nf", "set"]);
        let agent = Process::start(command, self.directory.path());
        wait_until("the agent's socket", || self.socket(number).exists());
        agent
    }

    fn socket(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("cni-{node}.sock"))
    }

    /// A sandbox on a node.
    pub(crate) fn sandbox(&self, node: usize, name: &str) -> Sandbox {
        self.nodes[node].sandbox(name).unwrap()
    }

    pub(crate) fn namespace(&self, name: &str) {
        self.api.put(NAMESPACE, json!({ "metadata": { "name": name } }));
    }

    /// A pod that is bound to a node, and whose kubelet has said nothing yet.
    pub(crate) fn put(&self, node: usize, namespace: &str, name: &str, role: &str) {
        let metadata = json!({ "namespace": namespace, "name": name, "labels": { "role": role } });
        let spec = json!({ "nodeName": self.nodes[node].name() });
        self.api.put(POD, json!({ "metadata": metadata, "spec": spec }));
    }

    /// The pod's object goes, as when its kubelet has taken it down.
    pub(crate) fn remove(&self, namespace: &str, name: &str) {
        self.api.server.store().remove(POD, namespace, name).unwrap();
    }

    /// What a runtime says of a pod's sandbox.
    pub(crate) fn attachment(&self, namespace: &str, name: &str, sandbox: &Sandbox) -> Attachment {
        let object = self.api.server.store().get(POD, namespace, name).unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap();
        Attachment::new(&format!("box-{name}"), &sandbox.path()).of_pod(namespace, name, uid)
    }

    /// A runtime of a node, whose pods are of a pool; our plugin is the last, where it is to be there.
    pub(crate) fn runtime(&self, node: usize, pool: Pool, ours: bool) -> Runtime {
        let range = |family: usize| {
            let of = |number: usize| addresses(node, number)[family];
            let [start, end] = [pool.first, pool.last].map(|number| of(number.into()));
            json!([{ "subnet": blocks(node)[family], "rangeStart": start, "rangeEnd": end, "gateway": of(1) }])
        };
        let ipam = json!({
            "type": "host-local",
            "dataDir": self.directory.path().join(format!("leases-{node}")),
            "ranges": [range(0), range(1)],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
        });
        let main = match self.main {
            Main::Ptp => json!({ "type": "ptp", "ipam": ipam }),
            Main::Bridge => {
                json!({ "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": ipam })
            }
        };
        let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
        let mut plugins = vec![main, portmap];
        if ours {
            plugins.push(self.plugin(node));
        }
        self.chain(node, pool.name, &plugins)
    }

    /// The configuration of our plugin on a node.
    pub(crate) fn plugin(&self, node: usize) -> Value {
        let socket = self.socket(node);
        json!({ "type": CNI, "socket": socket, "timeoutMs": PATIENCE_MS, "onTimeout": "fail" })
    }

    /// A runtime of a node with any plugins; those in the cluster's directory are found, too.
    pub(crate) fn chain(&self, node: usize, name: &str, plugins: &[Value]) -> Runtime {
        let list = json!({ "cniVersion": "1.0.0", "name": name, "plugins": plugins });
        let own: &Path = &profile_directory();
        let path = [self.plugins.as_path(), own, self.directory.path()];
        Runtime::new(self.nodes[node].namespace(), &path, &list.to_string()).unwrap()
    }
}

/// Every node knows the way to the pods of the others.
fn route(nodes: &[Node]) {
    for node in nodes {
        let others = nodes.iter().enumerate().filter(|(_, other)| other.name() != node.name());
        let ways = others.flat_map(|(number, other)| {
            let via = [Family::V4, Family::V6].map(|family| other.address(family));
            blocks(number).into_iter().zip(via).map(|(block, via)| format!("route add {block} via {via}"))
        });
        node.ip(&ways.collect::<Vec<_>>()).unwrap();
    }
}

/// The addresses of a result.
pub(crate) fn given(result: &str) -> Vec<IpAddr> {
    let result: Value = serde_json::from_str(result).unwrap();
    let address = |ip: &Value| ip["address"].as_str().unwrap().split_once('/').unwrap().0.parse().unwrap();
    result["ips"].as_array().unwrap().iter().map(address).collect()
}

/// ADD; when it fails, DEL, as every runtime does.
pub(crate) fn add(runtime: &Runtime, attachment: &Attachment) -> Result<Vec<IpAddr>, CniError> {
    match runtime.add(attachment) {
        Ok(result) => Ok(given(&result)),
        Err(error) => {
            // The first error is the one to tell.
            let _ = runtime.del(attachment);
            Err(error)
        }
    }
}
