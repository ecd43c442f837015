//! Without CNI's plugin: a node is closed for the sake of a pod that is on its way, until its address is known, and to nobody
//! else. All of it real: compiler, agent, nft and the packets of a pod that nobody knows.

use flock_lab::{Pod, Verdict};
use flock_testkit::POD;
use serde_json::{Value, json};

use crate::ground::NODES;
use crate::support::process::Process;
use crate::support::wait::wait_until;
use crate::two_nodes::TwoNodes;

/// Two nodes, a server `db` on n2 that no policy is about, and a pod on n1 that has not said its address. The namespace
/// `bank` is isolated in its egress.
struct ExpectedCluster {
    pod: Pod,
    _agents: [Process; 2],
    nodes: TwoNodes,
}

impl ExpectedCluster {
    fn new(tag: &str) -> Option<Self> {
        let deny = json!({
            "metadata": { "namespace": "bank", "name": "deny" },
            "spec": { "podSelector": {}, "policyTypes": ["Egress"] },
        });
        let nodes = TwoNodes::new(tag, &["shop", "bank"], deny, &["--unready-pods", "expected"])?;
        let agents = NODES.map(|node| nodes.ground.agent(node, &nodes.compiler.url(), &[]));
        let pod = nodes.ground.pod("n1", "pod", "10.1.1.7");
        let it = Self { pod, _agents: agents, nodes };
        it.put("shop", "db", "n2", &json!({ "podIP": "10.1.2.4" }));
        // Before its first table a node is open to everybody, with a compiler or without.
        wait_until("both nodes to be governed", || NODES.iter().all(|node| it.nodes.ground.has_table(node)));
        Some(it)
    }

    /// A pod that is bound to a node, and what its kubelet has said.
    fn put(&self, namespace: &str, name: &str, node: &str, status: &Value) {
        let metadata = json!({ "namespace": namespace, "name": name });
        self.nodes
            .api
            .put(POD, json!({ "metadata": metadata, "spec": { "nodeName": node }, "status": status }));
    }

    fn reaches(&self) -> bool {
        self.nodes.reaches(&self.pod) == Verdict::Reached
    }
}

#[test]
fn a_node_is_closed_for_who_is_expected_until_its_address_is_known() {
    let Some(cluster) = ExpectedCluster::new("expected") else { return };
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
    cluster.nodes.api.server.store().remove(POD, "bank", "teller").unwrap();
    wait_until("its address to be nobody's", || cluster.reaches());
}

#[test]
fn without_a_compiler_a_node_is_closed_and_with_one_it_is_not() {
    let Some(mut cluster) = ExpectedCluster::new("expected-alone") else { return };
    wait_until("a pod that nobody knows to be connected", || cluster.reaches());
    cluster.nodes.compiler.kill();
    wait_until("the node to be closed", || !cluster.reaches());
    cluster.nodes.compiler.restart();
    wait_until("a pod that nobody knows to be connected", || cluster.reaches());
}
