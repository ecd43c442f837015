//! Answers to an agent's questions about connections: decisions, without any I/O.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::Output;
use flock_compiler_core::forget::{allows, isolated, isolates, isolates_egress};
use flock_compiler_core::nft::Transport;
use flock_compiler_core::port::Protocol;
use flock_proto::{Answer, Flow, Flows, Forget};

use super::far_nodes::FarNodes;

const TCP: u8 = 6;

/// What the nodes of other pods enforce, by the pods' addresses.
pub(super) type Others = HashMap<IpAddr, Vec<Arc<Output>>>;

/// The answer for an agent whose table is that of `stands`, and will soon be that of `newest`. Denied is what neither
/// allows: what one denies and the next allows again is not cut. And what the node of the other end denies, which cannot
/// cut what it does not see: replies that pass here.
///
/// Left for later is what the node of the server is about to cut. As long as that lets replies pass, the next one would begin a
/// connection here towards the client, of which the client's denied packets would be the replies: each of both entries would
/// bring back the other. (TCP that begins in its middle is reset.) The second value is true if something is.
pub(super) fn answer(
    flows: &Flows,
    stands: &Output,
    newest: &Output,
    others: &Others,
    far_nodes: FarNodes,
) -> (Forget, bool) {
    let mut leaves = false;
    let waits = |flow: &Flow| {
        let mut theirs =
            server_elsewhere(flow, newest).and_then(|server| others.get(&server)).into_iter().flatten();
        far_nodes == FarNodes::Forgetting
            && theirs.any(|other| other.node() != newest.node() && isolates_egress(other, flow.destination))
    };
    let denied_there = |flow: &Flow| {
        let mut theirs = far_ends(flow, newest).filter_map(|end| others.get(&end)).flatten();
        theirs.any(|other| other.node() != newest.node() && denies(other, flow))
    };
    let answer = if flows.flows.is_empty() {
        Answer::Lost(isolated(stands))
    } else {
        let places = (0..).zip(&flows.flows);
        let denied = places.filter(|(_, flow)| {
            // What the newest state allows again is spared; what the table still allows would come back at once.
            let is_denied = denies(newest, flow) && denies(stands, flow);
            let waits = is_denied && waits(flow);
            leaves |= waits;
            is_denied && !waits || denied_there(flow)
        });
        Answer::Denied(denied.map(|(place, _)| place).collect())
    };
    (Forget::Answer { number: flows.number, answer }, leaves)
}

/// The addresses whose nodes have a say as well.
pub(super) fn asked_elsewhere(flows: &Flows, newest: &Output, far_nodes: FarNodes) -> BTreeSet<IpAddr> {
    let ends = |flow| match (denies(newest, flow), far_nodes) {
        (false, _) => far_ends(flow, newest).collect::<Vec<_>>(),
        (true, FarNodes::Forgetting) => server_elsewhere(flow, newest).into_iter().collect(),
        (true, FarNodes::Settled) => Vec::new(),
    };
    flows.flows.iter().flat_map(ends).collect()
}

/// The server of a connection of an isolated pod that may be elsewhere, where that connection could come back the other way.
fn server_elsewhere(flow: &Flow, own: &Output) -> Option<IpAddr> {
    let Flow { source, destination, translated, protocol, .. } = *flow;
    let is_seen = !translated.source && !translated.destination;
    (is_seen && protocol != TCP && isolates(own, source)).then_some(destination)
}

/// The ends of a connection of isolated pods that may be elsewhere, where it is seen as it is here.
fn far_ends<'a>(flow: &Flow, own: &'a Output) -> impl Iterator<Item = IpAddr> + use<'a> {
    let Flow { source, destination, translated, .. } = *flow;
    let ends = [(source, destination, translated.source), (destination, source, translated.destination)];
    let seen =
        ends.into_iter().filter(move |(near, _, is_translated)| !is_translated && isolates(own, *near));
    seen.map(|(_, far, _)| far)
}

fn denies(output: &Output, flow: &Flow) -> bool {
    !allows(output, flow.source, flow.destination, transport(flow))
}

/// What the first packet of a connection carries.
fn transport(flow: &Flow) -> Transport {
    let ports = |protocol| Transport::Ports { protocol, destination_port: flow.port };
    // The type is in the lower half.
    let [_, kind] = flow.port.to_be_bytes();
    match (flow.protocol, flow.source.is_ipv4()) {
        (TCP, _) => ports(Protocol::Tcp),
        (17, _) => ports(Protocol::Udp),
        (132, _) => ports(Protocol::Sctp),
        (1, true) => Transport::Icmp(kind),
        (58, false) => Transport::Icmpv6(kind),
        (other, _) => Transport::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::object::{Lifecycle, Pod, PodNetwork, Policy, PolicyBody, PolicyRules};
    use flock_compiler_core::sorted::Sorted;
    use flock_compiler_core::{Change, Edit, Labels, Selector, Translator};
    use flock_proto::Translated;
    use flock_shared::prefixes::Prefixes;
    use flock_shared::{NodeName, PodKey, PolicyKey};

    use super::*;

    const POD: [u8; 4] = [10, 0, 0, 1];

    fn pod(node: &NodeName, address: [u8; 4]) -> Pod {
        Pod {
            key: PodKey::new("shop", "web").unwrap(),
            uid: None,
            node: Some(node.clone()),
            labels: Labels::default(),
            network: PodNetwork::own([IpAddr::from(address)].into_iter().collect(), None),
            lifecycle: Lifecycle::Live,
            ports: Sorted::default(),
            scheduled: None,
            owner: Default::default(),
            faults: Vec::new(),
        }
    }

    /// What node n1 enforces with the pod, before and after a policy that lets nothing in.
    fn outputs() -> [std::sync::Arc<Output>; 2] {
        let node = NodeName::new("n1").unwrap();
        let mut translator = Translator::new();
        translator.apply(Change::Pod(Edit::Upsert(pod(&node, POD))));
        translator.pass();
        let open = translator.output(&node).unwrap();
        translator.apply(Change::Policy(Edit::Upsert(Policy::new(
            PolicyKey::new("shop", "deny").unwrap(),
            Selector::everything(),
            PolicyBody::Understood(PolicyRules { ingress: Some([].into()), ..PolicyRules::default() }),
        ))));
        translator.pass();
        [open, translator.output(&node).unwrap()]
    }

    fn asked(flows: &[(u8, u16, bool)]) -> Flows {
        let flow = |(protocol, port, towards): &(u8, u16, bool)| {
            let ends = [IpAddr::from([10, 9, 9, 9]), IpAddr::from(POD)];
            let [source, destination] = if *towards { ends } else { [ends[1], ends[0]] };
            Flow { source, destination, protocol: *protocol, port: *port, translated: Translated::default() }
        };
        let revision = outputs()[1].revision().clone();
        Flows { revision, number: 7, flows: flows.iter().map(flow).collect() }
    }

    fn settled(flows: &Flows, stands: &Output, newest: &Output) -> Forget {
        answer(flows, stands, newest, &Others::new(), FarNodes::Settled).0
    }

    #[test]
    fn what_neither_state_allows_is_denied() {
        let [open, closed] = outputs();
        let flows = asked(&[(17, 53, false), (17, 53, true), (6, 80, true), (1, 8, true), (47, 0, true)]);
        let answered = |places: &[u32]| Forget::Answer { number: 7, answer: Answer::Denied(places.into()) };
        assert_eq!(settled(&flows, &closed, &closed), answered(&[1, 2, 3, 4]));
        assert_eq!(settled(&flows, &closed, &open), answered(&[]));
        assert_eq!(settled(&flows, &open, &closed), answered(&[]));
    }

    /// What a node enforces whose pod, at `address`, may send nothing.
    fn server(node: &str, address: [u8; 4]) -> Arc<Output> {
        let node = NodeName::new(node).unwrap();
        let mut translator = Translator::new();
        translator.apply(Change::Pod(Edit::Upsert(pod(&node, address))));
        translator.apply(Change::Policy(Edit::Upsert(Policy::new(
            PolicyKey::new("shop", "quiet").unwrap(),
            Selector::everything(),
            PolicyBody::Understood(PolicyRules { egress: Some([].into()), ..PolicyRules::default() }),
        ))));
        translator.pass();
        translator.output(&node).unwrap()
    }

    #[test]
    fn a_client_is_cut_once_the_servers_node_has_forgotten_it() {
        let [client, there] =
            [("n1", POD), ("n2", [10, 9, 9, 9])].map(|(node, address)| server(node, address));
        // To the server, to somebody who is nowhere, over TCP, and from the server.
        let flows = asked(&[(17, 53, false), (6, 80, false), (1, 8, false), (17, 53, true)]);
        let others = Others::from([(IpAddr::from([10, 9, 9, 9]), vec![there])]);
        let answered = |far_nodes| match answer(&flows, &client, &client, &others, far_nodes) {
            (Forget::Answer { answer: Answer::Denied(places), .. }, leaves) => (places.to_vec(), leaves),
            other => panic!("{other:?}"),
        };
        let asked = |far_nodes| asked_elsewhere(&flows, &client, far_nodes).len();
        assert_eq!((answered(FarNodes::Forgetting), asked(FarNodes::Forgetting)), ((vec![1, 3], true), 1));
        assert_eq!((answered(FarNodes::Settled), asked(FarNodes::Settled)), ((vec![0, 1, 2, 3], false), 1));
        let nobody = answer(&flows, &client, &client, &Others::new(), FarNodes::Forgetting);
        assert_eq!(nobody, (settled(&flows, &client, &client), false));
    }

    #[test]
    fn who_does_not_know_what_to_look_at_is_told_who_is_isolated() {
        let [open, closed] = outputs();
        let answered = |addresses: &[IpAddr]| {
            let answer = Answer::Lost(addresses.iter().copied().collect::<Prefixes>());
            Forget::Answer { number: 7, answer }
        };
        assert_eq!(settled(&asked(&[]), &closed, &closed), answered(&[IpAddr::from(POD)]));
        assert_eq!(settled(&asked(&[]), &open, &open), answered(&[]));
    }
}
