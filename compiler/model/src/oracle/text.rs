//! Clusters and flows as readable text: what a failing property shows.

use std::fmt;

use super::cluster::{
    Cluster, Direction, Expression, Labels, Net, Node, Operator, Peer, Phase, PolicySpec, Port, PortNumber,
    Protocol, Rule, Selector,
};
use super::flow::{Flow, State, Transport};

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Node { name, pod_cidrs, own } in &self.nodes {
            write!(f, "node {name}")?;
            pod_cidrs.iter().try_for_each(|cidr| write!(f, " {cidr}"))?;
            own.iter().try_for_each(|address| write!(f, " has {address}"))?;
            writeln!(f)?;
        }
        for namespace in &self.namespaces {
            writeln!(f, "namespace {} {}", namespace.name, labels(&namespace.labels))?;
        }
        for pod in &self.pods {
            write!(f, "pod {}/{} on {}", pod.namespace, pod.name, pod.node.unwrap_or("-"))?;
            write!(f, " {} {:?}", labels(&pod.labels), pod.addresses)?;
            for port in &pod.ports {
                write!(f, " {}={} {}", port.name, port.protocol, port.number)?;
            }
            let marks = [
                (pod.host_network, "host-network"),
                (pod.deleting, "deleting"),
                (matches!(pod.phase, Phase::Succeeded | Phase::Failed), "finished"),
            ];
            for (_, mark) in marks.iter().filter(|(marked, _)| *marked) {
                write!(f, " {mark}")?;
            }
            write!(f, " at {}", pod.link)?;
            if let Some(interface) = pod.interface {
                write!(f, " {} {}", if interface.claimed { "claims" } else { "computed" }, interface.name)?;
            }
            writeln!(f)?;
        }
        for policy in &self.policies {
            write!(f, "policy {}/{} for {}", policy.namespace, policy.name, policy.pod_selector)?;
            match &policy.spec {
                PolicySpec::NotUnderstood { types } => writeln!(f, " not understood, types {types:?}")?,
                PolicySpec::Understood { types, ingress, egress } => {
                    match types {
                        None => writeln!(f, " no types")?,
                        Some(types) => writeln!(f, " types {types:?}")?,
                    }
                    for (direction, rules) in [(Direction::Ingress, ingress), (Direction::Egress, egress)] {
                        for rule in rules.iter().flatten() {
                            writeln!(f, "    {direction:?} {rule}")?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.peers.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
        let ports = self.ports.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
        write!(f, "peers [{}] ports [{}]", peers.join(", "), ports.join(", "))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods { pods, namespaces } => {
                let text = |selector: &Option<Selector>| {
                    selector.as_ref().map_or("-".to_owned(), ToString::to_string)
                };
                write!(f, "pods {} namespaces {}", text(pods), text(namespaces))
            }
            Self::Block { cidr, except } => {
                write!(f, "{cidr}")?;
                except.iter().try_for_each(|hole| write!(f, " except {hole}"))
            }
        }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            PortNumber::All => write!(f, "{}", self.protocol),
            PortNumber::Number(number) => write!(f, "{} {number}", self.protocol),
            PortNumber::Range(first, last) => write!(f, "{} {first}-{last}", self.protocol),
            PortNumber::Name(name) => write!(f, "{} {name}", self.protocol),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.match_labels.iter().map(|(key, value)| format!("{key}={value:?}"));
        let expressions = self.match_expressions.iter().map(ToString::to_string);
        write!(f, "({})", pairs.chain(expressions).collect::<Vec<_>>().join(" and "))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operator {
            Operator::In => write!(f, "{} in {:?}", self.key, self.values),
            Operator::NotIn => write!(f, "{} not in {:?}", self.key, self.values),
            Operator::Exists => write!(f, "{}", self.key),
            Operator::DoesNotExist => write!(f, "no {}", self.key),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} ", self.source, self.destination)?;
        match self.transport {
            Transport::Ports(protocol, from, to) => write!(f, "{protocol} {from} -> {to}")?,
            Transport::Icmp { kind, hop_limit } => write!(f, "ICMP type {kind} hop limit {hop_limit}")?,
            Transport::Other(number) => write!(f, "protocol {number}")?,
        }
        if self.state != State::Original {
            write!(f, " {:?}", self.state)?;
        }
        self.inbound.map_or(Ok(()), |name| write!(f, " entering by {name}"))
    }
}

fn labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    format!("{{{}}}", pairs.join(" "))
}
