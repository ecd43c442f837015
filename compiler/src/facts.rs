//! What an agent says of its node, as the core knows it.

use flock_compiler_core::object::{Bridge, BridgeNf, Facts};
use flock_proto::{Hello, NodeFacts, PortKind};
use flock_shared::NodeName;

/// The facts that an agent introduces itself with; `None` if it says nothing of its node.
#[must_use]
pub(crate) fn of_hello(hello: &Hello) -> Option<Facts> {
    let whole = AgentCapabilities { refused: hello.refused.clone(), grammar: hello.grammar, cni: hello.cni };
    match &hello.facts {
        None if whole == AgentCapabilities::default() => None,
        None => Some(Facts {
            refused: whole.refused,
            grammar: whole.grammar,
            cni: whole.cni,
            ..Facts::nothing_of(hello.node.clone())
        }),
        Some(facts) => Some(of_node(hello.node.clone(), facts, whole)),
    }
}

/// What an agent says once: what its node and its guard take, and if it takes calls of CNI's plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentCapabilities {
    pub(crate) refused: Vec<String>,
    pub(crate) grammar: u32,
    pub(crate) cni: bool,
}

impl Default for AgentCapabilities {
    fn default() -> Self {
        Self { refused: Vec::new(), grammar: 1, cni: false }
    }
}

impl From<&Facts> for AgentCapabilities {
    fn from(facts: &Facts) -> Self {
        Self { refused: facts.refused.clone(), grammar: facts.grammar, cni: facts.cni }
    }
}

/// The facts of a node that takes so much.
#[must_use]
pub(crate) fn of_node(
    node: NodeName,
    facts: &NodeFacts,
    AgentCapabilities { refused, grammar, cni }: AgentCapabilities,
) -> Facts {
    // A bridge whose name cannot stand in a script is left out: no rule could name it.
    let bridges = facts.bridges.iter().filter_map(|bridge| {
        let addresses = bridge.addresses.iter().copied().collect();
        let of_kind = |is_link: bool| {
            let ports = bridge.ports.iter().filter(move |port| (port.kind == PortKind::Veth) == is_link);
            ports.filter_map(|port| port.name.parse().ok()).collect()
        };
        Some(Bridge {
            name: bridge.name.parse().ok()?,
            addresses,
            links: of_kind(true),
            uplinks: of_kind(false),
        })
    });
    Facts {
        node,
        bridges: bridges.collect(),
        bridge_nf_v4: setting(facts.bridge_nf_v4),
        bridge_nf_v6: setting(facts.bridge_nf_v6),
        tunnel_ports: facts.tunnel_ports.clone(),
        accept_source_route: facts.accept_source_route,
        ipvs: facts.ipvs,
        flowtables: facts.flowtables.clone(),
        netkit: facts.netkit,
        openvswitch: facts.openvswitch,
        refused,
        grammar,
        cni,
    }
}

const fn setting(setting: flock_proto::BridgeNf) -> BridgeNf {
    match setting {
        flock_proto::BridgeNf::On => BridgeNf::On,
        flock_proto::BridgeNf::Off => BridgeNf::Off,
        flock_proto::BridgeNf::Absent => BridgeNf::Absent,
    }
}

#[cfg(test)]
mod tests {
    use flock_proto::Position;
    use flock_shared::Superseded;

    use super::*;

    fn hello(facts: Option<NodeFacts>, refused: &[&str]) -> Hello {
        Hello {
            node: NodeName::new("n1").unwrap(),
            agent_version: String::new(),
            nft_version: String::new(),
            applied: None,
            position: Position::default(),
            drifts: 0,
            superseded: Superseded::default(),
            facts,
            refused: refused.iter().map(|said| (*said).to_owned()).collect(),
            grammar: 1,
            cni: false,
        }
    }

    #[test]
    fn an_agent_that_says_nothing_has_no_facts() {
        assert_eq!(of_hello(&hello(None, &[])), None);
        let node = NodeName::new("n1").unwrap();
        let refused = Facts { refused: vec!["no".to_owned()], ..Facts::nothing_of(node.clone()) };
        assert_eq!(of_hello(&hello(None, &["no"])), Some(refused.clone()));
        assert_eq!(of_hello(&hello(Some(NodeFacts::default()), &["no"])), Some(refused));
        assert_eq!(of_hello(&hello(Some(NodeFacts::default()), &[])), Some(Facts::nothing_of(node)));
    }

    #[test]
    fn a_bridge_that_no_script_can_name_is_left_out() {
        let bridge = |name: &str| flock_proto::Bridge {
            name: name.to_owned(),
            addresses: ["10.244.1.1/24".parse().unwrap()].into(),
            ports: Vec::new(),
        };
        let bridges = ["a\" accept", "br*", "cni0"].map(bridge).to_vec();
        let facts = of_hello(&hello(Some(NodeFacts { bridges, ..NodeFacts::default() }), &[])).unwrap();
        let names: Vec<&str> = facts.bridges.iter().map(|bridge| bridge.name.as_str()).collect();
        assert_eq!(names, ["cni0"]);
    }
}
