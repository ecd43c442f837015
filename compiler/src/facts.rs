//! What an agent says of its node, as the core knows it.

use flock_compiler_core::object::{Bridge, BridgeNf, Facts};
use flock_proto::{BridgePort, Hello, NodeFacts, PortKind, Position};
use flock_shared::{NodeName, Superseded};

/// The facts that an agent introduces itself with; `None` if it says nothing of its node.
#[must_use]
pub(crate) fn of_hello(hello: &Hello) -> Option<Facts> {
    let whole = AgentCapabilities {
        refused: hello.refused.clone(),
        grammar: hello.grammar,
        cni: hello.cni,
        drops: hello.drops,
    };
    match &hello.facts {
        // An agent that is too old to say anything of its node.
        None if whole == AgentCapabilities::default() => None,
        None => Some(Facts {
            refused: whole.refused,
            grammar: whole.grammar,
            cni: whole.cni,
            drops: whole.drops,
            ..Facts::nothing_of(hello.node.clone())
        }),
        Some(facts) => Some(of_node(hello.node.clone(), facts, whole)),
    }
}

/// What an agent says once: what its node and its guard take, if it takes calls of CNI's plugin, and if it
/// reads what is taken down of drops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentCapabilities {
    pub(crate) refused: Vec<String>,
    pub(crate) grammar: u32,
    pub(crate) cni: bool,
    pub(crate) drops: bool,
}

impl Default for AgentCapabilities {
    fn default() -> Self {
        Self { refused: Vec::new(), grammar: 1, cni: false, drops: false }
    }
}

impl From<&Facts> for AgentCapabilities {
    fn from(facts: &Facts) -> Self {
        Self { refused: facts.refused.clone(), grammar: facts.grammar, cni: facts.cni, drops: facts.drops }
    }
}

/// The facts of a node that takes so much.
#[must_use]
pub(crate) fn of_node(
    node: NodeName,
    facts: &NodeFacts,
    AgentCapabilities { refused, grammar, cni, drops }: AgentCapabilities,
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
        bypassed: facts.bypassed,
        enforcers: facts.enforcers.clone(),
        refused,
        grammar,
        cni,
        drops,
    }
}

/// What an agent would say whose node has these facts: [`of_hello`] makes the same of it.
#[must_use]
pub(crate) fn to_hello(facts: &Facts) -> Hello {
    let port = |(name, kind): (String, PortKind)| BridgePort { name, kind };
    let bridges = facts.bridges.iter().map(|bridge| {
        let links = bridge.links.iter().map(|name| (name.to_string(), PortKind::Veth));
        let uplinks = bridge.uplinks.iter().map(|name| (name.to_string(), PortKind::Other));
        let mut ports: Vec<BridgePort> = links.chain(uplinks).map(port).collect();
        ports.sort_by(|a, b| a.name.cmp(&b.name));
        flock_proto::Bridge {
            name: bridge.name.to_string(),
            addresses: bridge.addresses.iter().copied().collect(),
            ports,
        }
    });
    let node_facts = NodeFacts {
        bridges: bridges.collect(),
        bridge_nf_v4: said(facts.bridge_nf_v4),
        bridge_nf_v6: said(facts.bridge_nf_v6),
        tunnel_ports: facts.tunnel_ports.clone(),
        accept_source_route: facts.accept_source_route,
        ipvs: facts.ipvs,
        flowtables: facts.flowtables.clone(),
        netkit: facts.netkit,
        openvswitch: facts.openvswitch,
        bypassed: facts.bypassed,
        enforcers: facts.enforcers.clone(),
    };
    Hello {
        node: facts.node.clone(),
        agent_version: String::new(),
        nft_version: String::new(),
        applied: None,
        position: Position::default(),
        drifts: 0,
        superseded: Superseded::default(),
        facts: Some(node_facts),
        refused: facts.refused.clone(),
        grammar: facts.grammar,
        cni: facts.cni,
        drops: facts.drops,
    }
}

const fn said(setting: BridgeNf) -> flock_proto::BridgeNf {
    match setting {
        BridgeNf::On => flock_proto::BridgeNf::On,
        BridgeNf::Off => flock_proto::BridgeNf::Off,
        BridgeNf::Absent => flock_proto::BridgeNf::Absent,
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
    use flock_proto::v1;

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
            drops: false,
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
    fn facts_survive_being_said_again() {
        let facts = Facts {
            bridges: vec![Bridge {
                name: "cni0".parse().unwrap(),
                addresses: vec!["10.244.1.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()],
                links: ["veth1".parse().unwrap(), "a".parse().unwrap()].into(),
                uplinks: ["eth1".parse().unwrap()].into(),
            }],
            bridge_nf_v4: BridgeNf::On,
            bridge_nf_v6: BridgeNf::Off,
            tunnel_ports: [8472].into(),
            accept_source_route: true,
            ipvs: true,
            flowtables: ["inet filter ft".to_owned()].into(),
            bypassed: true,
            enforcers: ["kube-router".to_owned()].into(),
            refused: vec!["no".to_owned()],
            grammar: 2,
            cni: true,
            ..Facts::nothing_of(NodeName::new("n1").unwrap())
        };
        let wire = v1::Hello::from(to_hello(&facts));
        assert_eq!(of_hello(&Hello::try_from(wire).unwrap()), Some(facts));
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
