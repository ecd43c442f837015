//! What an agent has found on its node that may carry packets past the rules, in words.
//!
//! Whether that concerns a pod is the compiler's to say, which knows where pods are: `not judged` of `flockctl nodes`. So it is
//! information here, and never a reason not to be ready: another agent on the same node would find the same.

use flock_proto::{BridgeNf, NodeFacts, PortKind};

/// One line for each.
pub(super) fn notes(facts: Option<&NodeFacts>, refused: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    match facts {
        Some(facts) => tell(facts, &mut lines),
        None => lines.push("the node could not be looked at".to_owned()),
    }
    lines.extend(refused.iter().map(|said| format!("nft refuses what rules may need: {said}")));
    lines
}

fn tell(facts: &NodeFacts, lines: &mut Vec<String>) {
    let may_hold_pods = |kind: &PortKind| *kind == PortKind::Veth;
    if facts.bridges.iter().any(|bridge| bridge.ports.iter().any(|port| may_hold_pods(&port.kind))) {
        for (setting, value) in [
            ("net.bridge.bridge-nf-call-iptables", facts.bridge_nf_v4),
            ("net.bridge.bridge-nf-call-ip6tables", facts.bridge_nf_v6),
        ] {
            let state = match value {
                BridgeNf::On => continue,
                BridgeNf::Off => "is 0",
                BridgeNf::Absent => "is absent (br_netfilter is not loaded)",
            };
            lines.push(format!("there are bridges with veth ports, and {setting} {state}"));
        }
    }
    if facts.ipvs {
        lines.push("IPVS delivers to services through the node's own sockets".to_owned());
    }
    if !facts.flowtables.is_empty() {
        let names: Vec<&str> = facts.flowtables.iter().map(String::as_str).collect();
        lines.push(format!("established flows may go past the rules by flowtable {}", names.join(", ")));
    }
    if facts.netkit {
        lines.push("there are netkit devices, whose packets eBPF programs carry past the rules".to_owned());
    }
    if facts.openvswitch {
        lines.push("Open vSwitch hands packets of its ports on by its own rules, past these".to_owned());
    }
    if facts.bypassed {
        lines.push("pods talk, and the rules meet next to nothing of it".to_owned());
    }
}
