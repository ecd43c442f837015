//! Whether what has changed since can matter to a flow: where it cannot, the objects of now say what those of then said, and
//! have an index. Pure.

use std::net::IpAddr;

use flock_compiler_core::judge::Place;
use flock_compiler_core::object::{Pod, Policy};
use flock_compiler_core::world::{Difference, Differences};
use flock_shared::NamespaceName;

/// Returns true if a flow between two ends, as they are now, may have been judged in another way before these differences.
pub(super) fn may_matter(ends: [&Place; 2], differences: &Differences) -> bool {
    // Where no pod is, nodes are asked, and pods that may be on their way.
    if ends.iter().any(|place| place.address.is_none() || place.owners.is_empty()) {
        return true;
    }
    let is_of_an_end = |namespace: &NamespaceName| {
        ends.iter().any(|place| place.owners.iter().any(|pod| pod.key.namespace == *namespace))
    };
    let is_at_an_end = |pod: &Pod| {
        let claims = |address: &IpAddr| ends.iter().any(|place| place.address.as_ref() == Some(address));
        pod.addresses().into_iter().flatten().any(claims)
    };
    match differences {
        Differences::Pods(pods) | Differences::Nodes(_, pods) | Differences::NodePods(_, pods) => {
            any(pods, is_at_an_end)
        }
        Differences::Policies(policies) => {
            any(policies, |policy: &Policy| is_of_an_end(&policy.key.namespace))
        }
        Differences::Namespaces(namespaces) => any(namespaces, |namespace| is_of_an_end(&namespace.name)),
        // Of ends that pods own, no verdict depends on them.
        Differences::Facts(_) | Differences::Overdue(_) => false,
    }
}

/// Returns true if that is so of one of the objects, before or after.
fn any<T: PartialEq>(differences: &[Difference<T>], is_so: impl Fn(&T) -> bool) -> bool {
    let differ = differences.iter().filter(|it| it.is_translated());
    differ.flat_map(|it| it.before.iter().chain(&it.after)).any(|object| is_so(object))
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::judge::{Carries, Flow, Judge};
    use flock_compiler_core::port::Protocol;
    use flock_compiler_core::{Change, Edit, UnreadyPods, World};

    use super::*;
    use crate::self_check::tests::{CLUSTER, changes, world};

    /// From `web` to `db`, and from `web` to nobody, by the objects.
    fn flows(world: &World) -> [Flow; 2] {
        let judge = Judge::new(world, UnreadyPods::Expected);
        let place = |address: &str| judge.place_of(address.parse().unwrap());
        let flow = |to: &str| Flow {
            source: place("10.1.0.2"),
            destination: place(to),
            carries: Carries::Port(Protocol::Tcp, 5432),
        };
        [flow("10.1.0.4"), flow("198.51.100.1")]
    }

    fn passes(world: &World) -> [bool; 2] {
        let judge = Judge::new(world, UnreadyPods::Expected);
        flows(world).map(|flow| judge.passes(&flow))
    }

    /// Whether changes to the objects of another text may matter to both flows.
    fn matters(text: &str) -> [bool; 2] {
        let before = world(CLUSTER);
        let mut after = before.clone();
        let differences: Vec<Differences> =
            changes(text).into_iter().map(|change: Change| after.apply(change)).collect();
        assert!(differences.iter().any(|it| !it.is_empty()), "nothing differs: {text}");
        let matters = flows(&after)
            .map(|flow| differences.iter().any(|it| may_matter([&flow.source, &flow.destination], it)));
        for (passes, matters) in passes(&before)
            .iter()
            .zip(passes(&after))
            .zip(matters)
            .map(|((before, after), matters)| (*before != after, matters))
        {
            assert!(matters || !passes, "a verdict differs: {text}");
        }
        matters
    }

    #[test]
    fn what_a_verdict_can_depend_on_matters() {
        for (from, to) in [
            ("name: web, labels: {app: web}", "name: web, labels: {app: wep}"),
            ("podSelector: {matchLabels: {app: db}}", "podSelector: {matchLabels: {app: dp}}"),
            ("{port: pg}", "{port: gp}"),
            ("containerPort: 5432", "containerPort: 5433"),
            ("metadata: {name: shop}", "metadata: {name: shop, labels: {a: b}}"),
            ("10.1.0.4", "10.1.0.5"),
        ] {
            assert!(CLUSTER.contains(from), "{from}");
            assert_eq!(matters(&CLUSTER.replacen(from, to, 1)), [true, true], "{from} → {to}");
        }
    }

    #[test]
    fn what_no_verdict_of_two_pods_depends_on_does_not() {
        for more in [
            "{apiVersion: v1, kind: Node, metadata: {name: n3}}",
            "{apiVersion: v1, kind: Namespace, metadata: {name: other}}",
            "{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: new, labels: {app: db}}, spec: {nodeName: n2}, \
             status: {phase: Running, podIPs: [{ip: 10.1.0.9}]}}",
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: other, name: deny}, \
             spec: {podSelector: {}}}",
        ] {
            // Where nobody is, anything may matter.
            assert_eq!(matters(&format!("{CLUSTER}\n---\n{more}\n")), [false, true], "{more}");
        }
        // A second owner of an address does.
        let claim = "{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: new}, spec: {nodeName: n2}, \
                     status: {phase: Running, podIPs: [{ip: 10.1.0.4}]}}";
        assert_eq!(matters(&format!("{CLUSTER}\n---\n{claim}\n")), [true, true]);
        let mut world = world(CLUSTER);
        let flow = &flows(&world)[0];
        let name = flock_shared::NodeName::new("n1").unwrap();
        let gone = world.apply(Change::Node(Edit::Delete(name)));
        assert!(!gone.is_empty() && !may_matter([&flow.source, &flow.destination], &gone));
    }
}
