//! FLK004: pods that are isolated for egress and cannot ask DNS.
//!
//! The DNS servers of a cluster are the pods of `kube-system` and `openshift-dns` that are labelled as theirs are ([`LABELS`]);
//! they are asked at what they call `dns` (UDP), else at 53. A pod can ask if `judge` lets it reach one of them, or a rule
//! of its policies allows UDP 53 to the address of the node's own cache ([`NODE_LOCAL`]). Where caches run on nodes
//! (`k8s-app=node-local-dns`), every pod can ask that of its own node, which no policy keeps it from. Where no such server
//! is known, a pod can ask if some rule allows it UDP 53 at all.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flock_compiler_core::judge::{Carries, Flow, Place};
use flock_compiler_core::object::{
    Direction, Lifecycle, Peer, PeerMatch, Pod, Policy, PortMatch, PortName, Rule, RulePorts,
};
use flock_compiler_core::port::Protocol;
use flock_shared::{NamespaceName, PolicyKey};

use super::code::Lint;
use super::findings::{Findings, Found};
use super::ground::{Ground, PodClass, place};

/// Where DNS servers are. Elsewhere, a tenant may call a pod of its own so.
const NAMESPACES: [&str; 2] = ["kube-system", "openshift-dns"];
/// Labels of DNS servers.
const LABELS: [(&str, &str); 5] = [
    ("k8s-app", "kube-dns"),
    ("k8s-app", "coredns"),
    ("app.kubernetes.io/name", "coredns"),
    ("app", "coredns"),
    ("dns.operator.openshift.io/daemonset-dns", "default"),
];
/// Label of the caches on nodes.
const CACHE: (&str, &str) = ("k8s-app", "node-local-dns");
/// The address that a cache takes on its node.
const NODE_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));
/// So many servers are looked at, and so many pods are named.
const SERVERS: usize = 16;
const NAMED: usize = 3;
/// DNS.
const PORT: u16 = 53;

/// The DNS servers of a cluster.
#[derive(Debug)]
pub(super) enum Servers {
    /// Every node has its own.
    OnNodes,
    /// Where they are, and the numbers at which they are asked; none: none is known.
    At(Vec<(Place, Vec<u16>)>),
}

impl Servers {
    pub(super) fn of(ground: &Ground<'_>) -> Self {
        let named = |name: &str| NamespaceName::new(name).ok();
        let namespaces: Vec<NamespaceName> = NAMESPACES.into_iter().filter_map(named).collect();
        let pods = || namespaces.iter().flat_map(|name| ground.cluster.world.pods_of(name));
        let has = |pod: &Pod, (key, value): (&str, &str)| pod.labels.get(key) == Some(value);
        // Only on its node's network a cache is that node, which is open to the node's own pods in any case.
        if pods().any(|pod| has(pod, CACHE) && pod.is_of_host_network()) {
            return Self::OnNodes;
        }
        let is_server = |pod: &&Arc<Pod>| {
            pod.lifecycle != Lifecycle::Finished && LABELS.into_iter().any(|label| has(pod, label))
        };
        let servers = pods().filter(is_server).take(SERVERS);
        let places = servers.flat_map(|pod| {
            let name = PortName::new("dns");
            let named: Vec<u16> = pod.numbers(Protocol::Udp, &name).collect();
            let ports = if named.is_empty() { vec![PORT] } else { named };
            // A server on its node's network is that node to policies, and no labels select it.
            let places = match pod.is_of_host_network() {
                true => ground.judge.places_of_pod(pod),
                false => vec![place(pod)],
            };
            places.into_iter().map(move |place| (place, ports.clone()))
        });
        Self::At(places.collect())
    }
}

/// Looks at the pods of a namespace. Told once for each policy that is the first to isolate some of them.
pub(super) fn namespace(
    ground: &Ground<'_>,
    servers: &Servers,
    namespace: &NamespaceName,
    findings: &mut Findings<'_>,
) {
    let Servers::At(servers) = servers else { return };
    let mut cannot: BTreeMap<&PolicyKey, (&Arc<Policy>, Vec<&PodClass>)> = BTreeMap::new();
    for class in ground.classes_of(namespace).iter().filter(|class| class.is_judged()) {
        let isolating: Vec<&Arc<Policy>> = ground.judge.isolating(Direction::Egress, &class.first).collect();
        ground.spend(1 + isolating.len() * (1 + servers.len()));
        if ground.is_spent() {
            return;
        }
        if let Some(first) = isolating.first()
            && !can_ask(ground, servers, class, &isolating)
        {
            cannot.entry(&first.key).or_insert_with(|| (first, Vec::new())).1.push(class);
        }
    }
    for (policy, classes) in cannot.into_values() {
        findings.of_policy(Lint::FLK004, policy, words(servers, &classes));
    }
}

fn can_ask(
    ground: &Ground<'_>,
    servers: &[(Place, Vec<u16>)],
    class: &PodClass,
    isolating: &[&Arc<Policy>],
) -> bool {
    let rules = || isolating.iter().flat_map(|policy| policy.rules(Direction::Egress).unwrap_or_default());
    if servers.is_empty() {
        return rules().any(has_port);
    }
    if rules().any(|rule| has_port(rule) && allows_cache(rule)) {
        return true;
    }
    let source = place(&class.first);
    servers.iter().any(|(destination, ports)| {
        ports.iter().any(|port| {
            let carries = Carries::Port(Protocol::Udp, *port);
            let flow = Flow { source: source.clone(), destination: destination.clone(), carries };
            ground.judge.passes(&flow)
        })
    })
}

/// Returns true if a rule allows UDP 53, or what a server calls so.
fn has_port(rule: &Rule) -> bool {
    match &rule.ports {
        RulePorts::Any => true,
        RulePorts::OneOf(ports) => ports.iter().any(|port| match port {
            PortMatch::Range(range) => range.contains(Protocol::Udp, PORT),
            PortMatch::Named { protocol, name } => {
                // No pod is at hand to look the name up on, so it is taken by how servers call this port.
                *protocol == Protocol::Udp && name.as_str().starts_with("dns")
            }
        }),
    }
}

fn allows_cache(rule: &Rule) -> bool {
    match &rule.peers {
        PeerMatch::Any => true,
        PeerMatch::OneOf(peers) => peers.iter().any(|peer| match peer {
            Peer::Block(block) => block.blocks().contains(NODE_LOCAL),
            Peer::Pods(_) => false,
        }),
    }
}

fn words(servers: &[(Place, Vec<u16>)], classes: &[&PodClass]) -> Found {
    let pods: u32 = classes.iter().map(|class| class.live).sum();
    let named: Vec<String> =
        classes.iter().take(NAMED).map(|class| class.first.title().to_string()).collect();
    let more = (pods as usize).saturating_sub(named.len());
    let who = match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    };
    let server = servers.first().and_then(|(place, _)| place.owners.first());
    let what = match server {
        Some(pod) => format!("none of the DNS servers in {} is allowed on UDP", pod.key.namespace),
        None if servers.is_empty() => "no rule allows UDP 53".to_owned(),
        None => "none of the DNS servers on nodes is allowed on UDP".to_owned(),
    };
    let message = format!("isolates {who} for egress, and they cannot ask DNS: {what}");
    let label = server.and_then(|pod| {
        LABELS.into_iter().find(|(key, value)| pod.labels.get(key) == Some(*value)).map(|label| (pod, label))
    });
    let suggestion = match label {
        Some((pod, (key, value))) => format!(
            "egress to namespaceSelector kubernetes.io/metadata.name={} and podSelector {key}={value}, UDP and TCP 53",
            pod.key.namespace
        ),
        None => "egress to the DNS servers, UDP and TCP 53".to_owned(),
    };
    Found { field: "spec.egress".to_owned(), message, suggestion }
}
