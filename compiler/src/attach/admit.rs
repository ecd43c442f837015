//! Whether what an agent says of a sandbox can be. Pure.
//!
//! An agent speaks for its own node only, so a node that was taken over can say of its own pods what its kubelet could
//! write into their statuses, and nothing of others: no pod of another node, no address outside of its own blocks.
//!
//! It is looked at where the world is, which has only one pair of eyes for all nodes. So what can be told by looking up comes
//! first, and the addresses of all nodes are gone through once for all that is said.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::net::IpAddr;

use flock_compiler_core::World;
use flock_compiler_core::object::{Lifecycle, Pod, PodNetwork, PodUid, is_assignable};
use flock_shared::NodeName;
use flock_shared::cni::Sandbox;

use super::record::{Entry, Given};

/// What becomes of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is what the pod has.
    Admitted(Entry),
    /// The pod is not known, or not to run anywhere: the world may not have come as far as the node's kubelet.
    NotYet(String),
    /// The pod that is known is another one; the world may not have come as far as the node's kubelet.
    Another(String),
    /// It cannot be, and why.
    Refused(String),
}

/// Looks at what the agent of a node says.
#[derive(Debug)]
pub struct Admitter<'a> {
    world: &'a World,
    node: &'a NodeName,
    said: &'a [Sandbox],
    /// The addresses that are said and are a node's, once somebody wants to know.
    of_nodes: OnceCell<HashSet<IpAddr>>,
}

impl<'a> Admitter<'a> {
    /// All that the agent of `node` says at once.
    #[must_use]
    pub const fn new(world: &'a World, node: &'a NodeName, said: &'a [Sandbox]) -> Self {
        Self { world, node, said, of_nodes: OnceCell::new() }
    }

    /// Looks at one of them.
    #[must_use]
    pub fn admit(&self, sandbox: &Sandbox) -> Admission {
        let pod = &sandbox.pod;
        let Some(known) = self.world.pods().get(pod) else {
            return Admission::NotYet(format!("pod {pod} is not known"));
        };
        let uid = match uid(known, self.node, sandbox) {
            Ok(uid) => uid,
            Err(otherwise) => return otherwise,
        };
        if let Some(wrong) = sandbox.addresses.iter().find_map(|address| self.fault(*address)) {
            return Admission::Refused(wrong);
        }
        // A name that no rule can hold is as good as none.
        let interface = sandbox.interface.as_ref().and_then(|name| name.parse().ok());
        let given = Some(Given { addresses: sandbox.addresses.clone(), interface });
        Admission::Admitted(Entry { id: sandbox.id.clone(), pod: pod.clone(), uid, given })
    }

    /// Why no pod of the node can have an address.
    fn fault(&self, address: IpAddr) -> Option<String> {
        if !is_assignable(address) {
            return Some(format!("{address} is no address that a pod can have"));
        }
        if !self.world.may_have(self.node, address) {
            return Some(format!("{address} is in none of the pod CIDRs of node {}", self.node));
        }
        // Last, since it is the dearest: all nodes are gone through, once for all that is said.
        let is_a_nodes = self.of_nodes.get_or_init(|| self.of_nodes()).contains(&address);
        is_a_nodes.then(|| format!("{address} is the address of a node"))
    }

    fn of_nodes(&self) -> HashSet<IpAddr> {
        let said: HashSet<IpAddr> = self.said.iter().flat_map(|it| &it.addresses).copied().collect();
        let all = self.world.nodes().values().flat_map(|node| node.addresses.iter());
        all.filter(|address| said.contains(*address)).copied().collect()
    }
}

/// The UID that the pod has in the world, if the sandbox may be its.
fn uid(known: &Pod, node: &NodeName, sandbox: &Sandbox) -> Result<PodUid, Admission> {
    let pod = &sandbox.pod;
    // A pod of the same name may have been made anew, on another node, and the world not know it yet.
    let another = |why: String| Err(Admission::Another(why));
    let not_yet = |why: String| Err(Admission::NotYet(why));
    match &known.node {
        Some(other) if other != node => return another(format!("pod {pod} is on node {other}")),
        Some(_) => {}
        None => return not_yet(format!("pod {pod} is on no node")),
    }
    let Some(uid) = &known.uid else { return not_yet(format!("pod {pod} has no UID")) };
    // Not every runtime tells a UID. Without one the name has to do.
    if let Some(said) = &sandbox.uid
        && *said != uid.to_string()
    {
        return another(format!("pod {pod} has another UID"));
    }
    if known.network == PodNetwork::Host {
        return Err(Admission::Refused(format!("pod {pod} uses the node's network")));
    }
    // Not final: a StatefulSet makes a pod of the same name next, which the world may not know yet.
    if known.lifecycle == Lifecycle::Finished {
        return another(format!("pod {pod} has ended"));
    }
    Ok(uid.clone())
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::object::{Node, PodCidr};
    use flock_compiler_core::world::Trust;
    use flock_compiler_core::{Change, Edit, Labels};
    use flock_shared::PodKey;
    use flock_shared::cni::SandboxId;

    use super::*;

    fn admit(world: &World, node: &NodeName, said: &Sandbox) -> Admission {
        Admitter::new(world, node, std::slice::from_ref(said)).admit(said)
    }

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn pod(pod: &str, on: Option<&str>) -> Pod {
        Pod {
            key: PodKey::new("shop", pod).unwrap(),
            uid: PodUid::new("u1").ok(),
            node: on.map(name),
            labels: Labels::default(),
            network: PodNetwork::own([].into(), None),
            lifecycle: Lifecycle::Live,
            ports: [].into(),
            scheduled: None,
            owner: Default::default(),
            faults: Vec::new(),
        }
    }

    fn world(trust: Trust, pods: Vec<Pod>) -> World {
        let mut world = World::trusting(trust);
        let cidr = |text: &str| PodCidr::new(text.parse().unwrap()).unwrap();
        let n1 = Node {
            pod_cidrs: [cidr("10.244.1.0/24"), cidr("fd00:1::/64")].into(),
            addresses: ["192.168.0.1".parse().unwrap(), "10.244.1.1".parse().unwrap()].into(),
            ..Node::new(name("n1"))
        };
        world.apply(Change::Node(Edit::Replace(vec![n1, Node::new(name("n2"))])));
        world.apply(Change::Pod(Edit::Replace(pods)));
        world
    }

    fn sandbox(pod: &str, uid: Option<&str>, addresses: &[&str]) -> Sandbox {
        Sandbox {
            id: SandboxId::new("s1").unwrap(),
            pod: PodKey::new("shop", pod).unwrap(),
            uid: uid.map(ToOwned::to_owned),
            addresses: addresses.iter().map(|at| at.parse().unwrap()).collect(),
            interface: Some("veth1".to_owned()),
        }
    }

    #[test]
    fn a_node_speaks_for_its_own_pods_with_its_own_addresses() {
        let pods = || {
            vec![
                pod("web", Some("n1")),
                pod("away", Some("n2")),
                pod("unbound", None),
                Pod { uid: None, ..pod("odd", Some("n1")) },
                Pod { network: PodNetwork::Host, ..pod("host", Some("n1")) },
                Pod { lifecycle: Lifecycle::Finished, ..pod("done", Some("n1")) },
            ]
        };
        let it = world(Trust::default(), pods());
        let told = |said: Sandbox| match admit(&it, &name("n1"), &said) {
            Admission::Admitted(entry) => format!("{} of {}", entry.uid, entry.pod),
            Admission::NotYet(why) => format!("not yet: {why}"),
            Admission::Another(why) => format!("another: {why}"),
            Admission::Refused(why) => why,
        };
        let at = &["10.244.1.5", "fd00:1::5"][..];
        for (said, expected) in [
            (sandbox("web", Some("u1"), at), "u1 of shop/web"),
            (sandbox("web", None, at), "u1 of shop/web"),
            (sandbox("web", None, &[]), "u1 of shop/web"),
            (sandbox("web", Some("u2"), at), "another: pod shop/web has another UID"),
            (sandbox("new", None, at), "not yet: pod shop/new is not known"),
            (sandbox("away", None, at), "another: pod shop/away is on node n2"),
            (sandbox("unbound", None, at), "not yet: pod shop/unbound is on no node"),
            (sandbox("odd", None, at), "not yet: pod shop/odd has no UID"),
            (sandbox("done", None, at), "another: pod shop/done has ended"),
            (sandbox("host", None, at), "pod shop/host uses the node's network"),
            (sandbox("new", None, &["127.0.0.1"]), "not yet: pod shop/new is not known"),
            (sandbox("web", None, &["10.244.2.5"]), "10.244.2.5 is in none of the pod CIDRs of node n1"),
            (sandbox("web", None, &["10.244.1.1"]), "10.244.1.1 is the address of a node"),
            (sandbox("web", None, &["127.0.0.1"]), "127.0.0.1 is no address that a pod can have"),
            (sandbox("web", None, &["224.0.0.1"]), "224.0.0.1 is no address that a pod can have"),
            (sandbox("web", None, &["fe80::1"]), "fe80::1 is no address that a pod can have"),
            (sandbox("web", None, &["::"]), ":: is no address that a pod can have"),
        ] {
            assert_eq!(told(said.clone()), expected, "{said:?}");
        }
        let anywhere = world(Trust { any_address: true, interfaces: false }, pods());
        for (address, admitted) in [("10.244.2.5", true), ("192.168.0.1", false), ("127.0.0.1", false)] {
            let is_admitted = matches!(
                admit(&anywhere, &name("n1"), &sandbox("web", None, &[address])),
                Admission::Admitted(_)
            );
            assert_eq!(is_admitted, admitted, "{address}");
        }
        assert!(matches!(
            admit(&it, &name("n2"), &sandbox("away", None, &["10.9.0.1"])),
            Admission::Admitted(_)
        ));
    }
}
