//! Answers to an agent's questions about connections: decisions, without any I/O.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::Output;
use flock_compiler_core::forget::{allows, isolated, isolates};
use flock_compiler_core::nft::Transport;
use flock_compiler_core::port::Protocol;
use flock_proto::{Answer, Flow, Flows, Forget};

/// What the nodes of other pods enforce, by the pods' addresses.
pub(super) type Others = HashMap<IpAddr, Vec<Arc<Output>>>;

/// The answer for an agent whose table is that of `stands`, and will soon be that of `newest`. Denied is what neither
/// allows: what one denies and the next allows again is not cut. And what the node of the other end denies, which cannot
/// cut what it does not see: replies that pass here.
pub(super) fn answer(flows: &Flows, stands: &Output, newest: &Output, others: &Others) -> Forget {
    let denied_there = |flow: &Flow| {
        let mut theirs = far_ends(flow, newest).filter_map(|end| others.get(&end)).flatten();
        theirs.any(|other| other.node() != newest.node() && denies(other, flow))
    };
    let answer = if flows.flows.is_empty() {
        Answer::Lost(isolated(stands))
    } else {
        let places = (0..).zip(&flows.flows);
        let denied =
            places.filter(|(_, flow)| denies(newest, flow) && denies(stands, flow) || denied_there(flow));
        Answer::Denied(denied.map(|(place, _)| place).collect())
    };
    Forget::Answer { number: flows.number, answer }
}

/// The addresses whose nodes have a say as well.
pub(super) fn asked_elsewhere(flows: &Flows, newest: &Output) -> BTreeSet<IpAddr> {
    let open = flows.flows.iter().filter(|flow| !denies(newest, flow));
    open.flat_map(|flow| far_ends(flow, newest)).collect()
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
        (6, _) => ports(Protocol::Tcp),
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

    /// What node n1 enforces with the pod, before and after a policy that lets nothing in.
    fn outputs() -> [std::sync::Arc<Output>; 2] {
        let node = NodeName::new("n1").unwrap();
        let mut translator = Translator::new();
        let pod = Pod {
            key: PodKey::new("shop", "web").unwrap(),
            uid: None,
            node: Some(node.clone()),
            labels: Labels::default(),
            network: PodNetwork::own([IpAddr::from(POD)].into_iter().collect(), None),
            lifecycle: Lifecycle::Live,
            ports: Sorted::default(),
            scheduled: None,
            owner: Default::default(),
            faults: Vec::new(),
        };
        translator.apply(Change::Pod(Edit::Upsert(pod)));
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

    #[test]
    fn what_neither_state_allows_is_denied() {
        let [open, closed] = outputs();
        let flows = asked(&[(17, 53, false), (17, 53, true), (6, 80, true), (1, 8, true), (47, 0, true)]);
        let answered = |places: &[u32]| Forget::Answer { number: 7, answer: Answer::Denied(places.into()) };
        assert_eq!(answer(&flows, &closed, &closed, &Others::new()), answered(&[1, 2, 3, 4]));
        assert_eq!(answer(&flows, &closed, &open, &Others::new()), answered(&[]));
        assert_eq!(answer(&flows, &open, &closed, &Others::new()), answered(&[]));
    }

    #[test]
    fn who_does_not_know_what_to_look_at_is_told_who_is_isolated() {
        let [open, closed] = outputs();
        let answered = |addresses: &[IpAddr]| {
            let answer = Answer::Lost(addresses.iter().copied().collect::<Prefixes>());
            Forget::Answer { number: 7, answer }
        };
        assert_eq!(answer(&asked(&[]), &closed, &closed, &Others::new()), answered(&[IpAddr::from(POD)]));
        assert_eq!(answer(&asked(&[]), &open, &open, &Others::new()), answered(&[]));
    }
}
