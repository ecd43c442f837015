//! Without CNI's plugin: a node is closed for the sake of a pod that is on its way, until its address is known, and to nobody
//! else. All of it real: compiler, agent, nft and the packets of a pod that nobody knows.

use std::net::IpAddr;

use flock_lab::{Pod, Probe, Protocol, Verdict};
use flock_testkit::{NAMESPACE, NETWORK_POLICY, NODE, POD};
use serde_json::{Value, json};

use crate::api::Api;
use crate::compiler::Compiler;
use crate::ground::{Ground, NODES};
use crate::support::process::Process;
use crate::support::wait::wait_until;

/// Two nodes, a server `db` on n2 that no policy is about, and a pod on n1 that has not said its address. The namespace
/// `bank` is isolated in its egress.
struct Cluster {
    db: Pod,
    pod: Pod,
    _agents: [Process; 2],
    compiler: Compiler,
    api: Api,
    _ground: Ground,
}

impl Cluster {
    fn new(tag: &str) -> Option<Self> {
        let ground = Ground::new(tag)?;
        let api = Api::start();
        for (number, node) in (1..).zip(NODES) {
            let spec = json!({ "podCIDRs": [format!("10.1.{number}.0/24")] });
            api.put(NODE, json!({ "metadata": { "name": node }, "spec": spec }));
        }
        for namespace in ["shop", "bank"] {
            api.put(NAMESPACE, json!({ "metadata": { "name": namespace } }));
        }
        let deny = json!({
            "metadata": { "namespace": "bank", "name": "deny" },
            "spec": { "podSelector": {}, "policyTypes": ["Egress"] },
        });
        api.put(NETWORK_POLICY, deny);
        let kubeconfig = api.server.write_kubeconfig(ground.directory()).unwrap();
        let options = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--unready-pods", "expected"];
        let compiler = Compiler::start(options, ground.directory());
        let agents = NODES.map(|node| ground.agent(node, &compiler.url(), &[]));
        let (db, pod) = (ground.pod("n2", "db", "10.1.2.4"), ground.pod("n1", "pod", "10.1.1.7"));
        let it = Self { db, pod, _agents: agents, compiler, api, _ground: ground };
        it.put("shop", "db", "n2", &json!({ "podIP": "10.1.2.4" }));
        Some(it)
    }

    /// A pod that is bound to a node, and what its kubelet has said.
    fn put(&self, namespace: &str, name: &str, node: &str, status: &Value) {
        let metadata = json!({ "namespace": namespace, "name": name });
        self.api.put(POD, json!({ "metadata": metadata, "spec": { "nodeName": node }, "status": status }));
    }

    fn reaches(&self) -> bool {
        let address: IpAddr = self.db.addresses()[0];
        Probe::new(&self.pod, Protocol::Tcp, address, 80).run().unwrap() == Verdict::Reached
    }
}

#[test]
fn a_node_is_closed_for_who_is_expected_until_its_address_is_known() {
    let Some(cluster) = Cluster::new("expected") else { return };
    wait_until("a pod that nobody knows to be connected", || cluster.reaches());
    // Bound: from here on it may start at any moment, and what this pod sends may be its packets.
    cluster.put("bank", "teller", "n1", &json!({ "phase": "Pending" }));
    wait_until("the node to be closed", || !cluster.reaches());
    // Its kubelet says its address, which is another one.
    cluster.put("bank", "teller", "n1", &json!({ "phase": "Running", "podIP": "10.1.1.8" }));
    wait_until("the others to be connected", || cluster.reaches());
    // It is this one after all: isolated for good.
    cluster.put("bank", "teller", "n1", &json!({ "phase": "Running", "podIP": "10.1.1.7" }));
    wait_until("the pod to be isolated", || !cluster.reaches());
    cluster.api.server.store().remove(POD, "bank", "teller").unwrap();
    wait_until("its address to be nobody's", || cluster.reaches());
}

#[test]
fn without_a_compiler_a_node_is_closed_and_with_one_it_is_not() {
    let Some(mut cluster) = Cluster::new("expected-alone") else { return };
    wait_until("a pod that nobody knows to be connected", || cluster.reaches());
    cluster.compiler.kill();
    wait_until("the node to be closed", || !cluster.reaches());
    cluster.compiler.restart();
    wait_until("a pod that nobody knows to be connected", || cluster.reaches());
}
