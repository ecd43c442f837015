//! Kubernetes objects as manifest text, and what the compiler makes of them.

use flock_compiler_core::nft::read::GRAMMAR;
use flock_compiler_core::object::Facts;
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::{Change, Edit, Options, Problem, Translation, UnreadyPods, World, translate};
use flock_convert::HostInterfaces;
use flock_convert::manifests::Manifests;
use flock_shared::NodeName;

use crate::members::{MEMBERS, Member, NAMESPACES, NODES};

/// A manifest of several YAML documents, and options of the compiler.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    documents: Vec<String>,
    interfaces: HostInterfaces,
    unready_pods: UnreadyPods,
    may_have_faults: bool,
}

impl Objects {
    /// The nodes and the namespaces.
    pub(crate) fn without_pods() -> Self {
        let node = |name: &&str| format!("{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}}}");
        let namespace = |(name, labels): &(&str, &str)| {
            format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {labels}}}}}")
        };
        Self {
            documents: NODES.iter().map(node).chain(NAMESPACES.iter().map(namespace)).collect(),
            interfaces: HostInterfaces::None,
            unready_pods: UnreadyPods::default(),
            may_have_faults: false,
        }
    }

    /// The nodes, the namespaces and every member.
    pub(crate) fn of_all_members() -> Self {
        MEMBERS
            .iter()
            .fold(Self::without_pods(), |objects, member| objects.with(&PodDocument::of(member).text()))
    }

    /// One more document.
    pub(crate) fn with(mut self, document: &str) -> Self {
        self.documents.push(document.to_owned());
        self
    }

    /// One more policy, by namespace and `spec`.
    pub(crate) fn with_policy(self, namespace: &str, spec: &str) -> Self {
        let name = self.documents.len();
        self.with(&format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, \
             metadata: {{namespace: {namespace}, name: policy-{name}}}, spec: {spec}}}"
        ))
    }

    /// More policies.
    pub(crate) fn with_policies(self, policies: &[(&str, &str)]) -> Self {
        policies.iter().fold(self, |objects, (namespace, spec)| objects.with_policy(namespace, spec))
    }

    /// A policy in every namespace that isolates every pod in both directions and allows nothing.
    pub(crate) fn with_default_deny(self) -> Self {
        NAMESPACES.iter().fold(self, |objects, (namespace, _)| {
            objects.with_policy(namespace, "{podSelector: {}, policyTypes: [Ingress, Egress]}")
        })
    }

    /// With `--host-iface OPTION`.
    pub(crate) fn host_interfaces(mut self, option: &str) -> Self {
        self.interfaces = option.parse().unwrap();
        self
    }

    /// Every node has the blocks that its members' addresses are of: 10.244.NODE.0/24 and fd00:10:244:NODE::/64.
    pub(crate) fn with_pod_cidrs(mut self) -> Self {
        for (document, (number, name)) in self.documents.iter_mut().zip((1..).zip(NODES)) {
            *document = format!(
                "{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, \
                 spec: {{podCIDRs: [10.244.{number}.0/24, \"fd00:10:244:{number}::/64\"]}}}}"
            );
        }
        self
    }

    /// Every node has the addresses that labs give it.
    pub(crate) fn with_node_addresses(mut self) -> Self {
        for (document, (number, name)) in self.documents.iter_mut().zip((1..).zip(NODES)) {
            *document = format!(
                "{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, status: {{addresses: [\
                 {{type: InternalIP, address: 172.18.0.{number}}}, \
                 {{type: InternalIP, address: \"fd00:18::{number}\"}}]}}}}"
            );
        }
        self
    }

    /// With `--unready-pods OPTION`.
    pub(crate) fn unready_pods(mut self, option: &str) -> Self {
        self.unready_pods = option.parse().unwrap();
        self
    }

    /// Some objects cannot be understood, on purpose.
    pub(crate) fn faulty(mut self) -> Self {
        self.may_have_faults = true;
        self
    }

    /// The world of these objects. A fault that is not on purpose is a mistake in the test.
    pub(crate) fn world(&self) -> World {
        let text = self.documents.join("\n---\n");
        let manifests =
            Manifests::from_bytes([("test.yaml", text.as_bytes())], &self.interfaces.clone().into());
        assert!(manifests.errors.is_empty(), "{:?}", manifests.errors);
        let mut world = World::default();
        for change in manifests.listings() {
            world.apply(change);
        }
        // As agents of this version would say it: nodes take down what they drop, and wait for nobody.
        for name in NODES {
            let node = NodeName::new(name).unwrap();
            let facts = Facts { grammar: GRAMMAR, drops: true, cni: true, ..Facts::nothing_of(node) };
            world.apply(Change::Facts(Edit::Upsert(facts)));
        }
        let translation = translate(&world);
        let faults: Vec<&Problem> =
            translation.problems().iter().filter(|problem| problem.consequence.is_invalid_input()).collect();
        assert_eq!(self.may_have_faults, !faults.is_empty(), "{faults:#?}");
        world
    }

    /// What every node is to enforce.
    pub(crate) fn translation(&self) -> Translation {
        translate_with(&self.world(), Options { unready_pods: self.unready_pods, ..Options::default() })
    }
}

/// A pod as a document.
#[derive(Debug, Clone)]
pub(crate) struct PodDocument {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) labels: String,
    pub(crate) addresses: Vec<String>,
    /// Further fields of `metadata`, such as `annotations: {a: b}`.
    pub(crate) metadata: String,
    /// Further fields of `spec`.
    pub(crate) spec: String,
    pub(crate) phase: &'static str,
}

impl PodDocument {
    /// A member as it runs.
    pub(crate) fn of(member: &Member) -> Self {
        Self {
            namespace: member.namespace.to_owned(),
            name: member.name.to_owned(),
            node: member.node_name().to_owned(),
            labels: member.labels.to_owned(),
            addresses: member.addresses().iter().map(ToString::to_string).collect(),
            metadata: String::new(),
            spec: member.containers.to_owned(),
            phase: "Running",
        }
    }

    /// The document.
    pub(crate) fn text(&self) -> String {
        let addresses: Vec<String> =
            self.addresses.iter().map(|address| format!("{{ip: \"{address}\"}}")).collect();
        let Self { namespace, name, node, labels, metadata, spec, phase, .. } = self;
        let metadata = and(metadata);
        let spec = and(spec);
        format!(
            "{{apiVersion: v1, kind: Pod, \
             metadata: {{namespace: {namespace}, name: {name}, labels: {labels}{metadata}}}, \
             spec: {{nodeName: {node}{spec}}}, status: {{phase: {phase}, podIPs: [{}]}}}}",
            addresses.join(", ")
        )
    }
}

fn and(fields: &str) -> String {
    if fields.is_empty() { String::new() } else { format!(", {fields}") }
}
