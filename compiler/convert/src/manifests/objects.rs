//! The objects of all manifests together: each one once, and the namespaces that the API server would have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_compiler_core::change::Object;
use flock_compiler_core::object::{Namespace, Node, NodePods, Pod, Policy, Service};
use flock_compiler_core::{Change, Edit, Labels};
use flock_shared::{NamespaceName, NodeName, ObjectKey, PodKey, PolicyKey};
use ipnet::IpNet;

use super::error::ManifestError;
use super::parse::Parsed;
use super::stand_ins::needed;
use crate::{ClusterObject, StandIn};

/// The label that the API server gives to every namespace, whose value is its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Objects of all watched kinds by their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// Nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Namespaces, also those that only occur in other objects.
    pub namespaces: BTreeMap<NamespaceName, Namespace>,
    /// Pods.
    pub pods: BTreeMap<PodKey, Pod>,
    /// Network policies.
    pub policies: BTreeMap<PolicyKey, Policy>,
    /// What CNI did on nodes.
    pub node_pods: BTreeMap<NodeName, NodePods>,
}

/// What several manifests come to.
#[derive(Debug, Default)]
pub struct Merged {
    /// Each object once.
    pub objects: Objects,
    /// Kind, namespace and name of every object to the file that it is from.
    pub origins: BTreeMap<String, Arc<str>>,
    /// Namespaces without an object of their own.
    pub assumed: Vec<NamespaceName>,
    /// Objects that are there twice and differ; the first one is in `objects`.
    pub ambiguous: Vec<ManifestError>,
    /// Services; none where they are ignored.
    pub services: BTreeMap<ObjectKey, Service>,
    /// The blocks that Services have their addresses from; none where they are ignored.
    pub service_cidrs: Vec<IpNet>,
}

/// Merges the objects of manifests, in order of the files.
#[must_use]
pub fn merge<'a>(files: impl IntoIterator<Item = (&'a Arc<str>, &'a Parsed)>) -> Merged {
    let mut merged = Merged::default();
    let mut stand_ins = Vec::new();
    for (origin, parsed) in files {
        for object in &parsed.objects {
            merged.add(origin, object);
        }
        for (key, service) in &parsed.services {
            merged.add_service(origin, key, service);
        }
        merged.service_cidrs.extend(&parsed.service_cidrs);
        stand_ins.extend(parsed.stand_ins.iter().map(|stand_in| (origin, stand_in)));
    }
    // Whether they are needed depends on the pods of all files.
    for (origin, stand_in) in needed(&merged.objects.pods, &stand_ins) {
        merged.add_stand_in(origin, stand_in);
    }
    // Last: stand-ins are pods in namespaces, too.
    merged.complete_namespaces();
    merged
}

impl Merged {
    fn add(&mut self, origin: &Arc<str>, object: &ClusterObject) {
        let objects = &mut self.objects;
        let (title, is_same) = match object {
            ClusterObject::Node(node) => (format!("Node {}", node.name), insert(&mut objects.nodes, node)),
            ClusterObject::Namespace(namespace) => {
                (format!("Namespace {}", namespace.name), insert(&mut objects.namespaces, namespace))
            }
            ClusterObject::Pod(pod) => (format!("Pod {}", pod.key), insert(&mut objects.pods, pod)),
            ClusterObject::Policy(policy) => {
                (format!("NetworkPolicy {}", policy.key), insert(&mut objects.policies, policy))
            }
            ClusterObject::NodePods(all) => {
                (format!("NodePods {}", all.node()), insert(&mut objects.node_pods, all))
            }
        };
        let namespace = match object {
            ClusterObject::Node(_) | ClusterObject::Namespace(_) | ClusterObject::NodePods(_) => None,
            ClusterObject::Pod(pod) => Some(&pod.key.namespace),
            ClusterObject::Policy(policy) => Some(&policy.key.namespace),
        };
        self.note(origin, title, namespace, is_same);
    }

    fn add_service(&mut self, origin: &Arc<str>, key: &ObjectKey, service: &Service) {
        let is_same = self.services.entry(key.clone()).or_insert_with(|| service.clone()) == service;
        self.note(origin, format!("Service {key}"), Some(&key.namespace), is_same);
    }

    fn add_stand_in(&mut self, origin: &Arc<str>, stand_in: &StandIn) {
        let StandIn { pod, workload, .. } = stand_in;
        let is_same = insert(&mut self.objects.pods, pod);
        let namespace = &pod.key.namespace;
        let title = format!("{} {namespace}/{}", workload.kind.kind(), workload.name);
        self.note(origin, title, Some(namespace), is_same);
        // Problems name the pod.
        self.origins.entry(format!("Pod {}", pod.key)).or_insert_with(|| Arc::clone(origin));
    }

    /// Notes where an object is from, and if there is another one of its name.
    fn note(&mut self, origin: &Arc<str>, title: String, namespace: Option<&NamespaceName>, is_same: bool) {
        let first = self.origins.entry(title.clone()).or_insert_with(|| Arc::clone(origin));
        if !is_same {
            let (origin, other) = (Arc::clone(origin), Arc::clone(first));
            let namespace = namespace.cloned();
            self.ambiguous.push(ManifestError::Ambiguous { object: title, namespace, origin, other });
        }
    }

    /// Selectors may name a namespace by the label that the API server sets; a manifest need not have it.
    fn complete_namespaces(&mut self) {
        let namespaces = &mut self.objects.namespaces;
        for (name, namespace) in namespaces.iter_mut() {
            if namespace.labels.get(NAME_LABEL) != Some(name.as_str()) {
                // Of a key that comes twice the last value is kept: a wrong one is replaced, as by the API server.
                let own = namespace.labels.iter().chain([(NAME_LABEL, name.as_str())]);
                namespace.labels = own.collect();
            }
        }
        let pods = self.objects.pods.keys().map(|key| &key.namespace);
        let used: BTreeSet<&NamespaceName> =
            pods.chain(self.objects.policies.keys().map(|key| &key.namespace)).collect();
        for name in used {
            if !namespaces.contains_key(name) {
                let labels: Labels = [(NAME_LABEL, name.as_str())].into_iter().collect();
                namespaces.insert(name.clone(), Namespace::new(name.clone(), labels));
                self.assumed.push(name.clone());
            }
        }
    }
}

impl Merged {
    /// A line for every namespace that was assumed.
    pub fn assumed_notes(&self) -> impl Iterator<Item = String> {
        self.assumed
            .iter()
            .map(|name| format!("Namespace {name} has no object; assumed with the label {NAME_LABEL} only"))
    }
}

/// Adds an object unless its key is taken; false if it is taken by another one.
fn insert<T: Object>(objects: &mut BTreeMap<T::Key, T>, object: &T) -> bool {
    objects.entry(object.key().clone()).or_insert_with(|| object.clone()) == object
}

impl Objects {
    /// Whole listings of every kind.
    #[must_use]
    pub fn listings(&self) -> Vec<Change> {
        vec![
            Change::Node(Edit::Replace(self.nodes.values().cloned().collect())),
            Change::Namespace(Edit::Replace(self.namespaces.values().cloned().collect())),
            Change::Pod(Edit::Replace(self.pods.values().cloned().collect())),
            Change::Policy(Edit::Replace(self.policies.values().cloned().collect())),
            Change::NodePods(Edit::Replace(self.node_pods.values().cloned().collect())),
        ]
    }

    /// The edits that lead from `old` to these. Policies come before the pods that they select, and go after them.
    #[must_use]
    pub fn edits_since(&self, old: &Self) -> Vec<Change> {
        let (policies, gone_policies) = edits(&old.policies, &self.policies);
        let (namespaces, gone_namespaces) = edits(&old.namespaces, &self.namespaces);
        let (nodes, gone_nodes) = edits(&old.nodes, &self.nodes);
        let (pods, gone_pods) = edits(&old.pods, &self.pods);
        let (node_pods, gone_node_pods) = edits(&old.node_pods, &self.node_pods);
        let changes = [
            policies.into_iter().map(Change::Policy).collect::<Vec<_>>(),
            namespaces.into_iter().map(Change::Namespace).collect(),
            nodes.into_iter().map(Change::Node).collect(),
            node_pods.into_iter().map(Change::NodePods).collect(),
            pods.into_iter().map(Change::Pod).collect(),
            gone_pods.into_iter().map(Change::Pod).collect(),
            gone_node_pods.into_iter().map(Change::NodePods).collect(),
            gone_nodes.into_iter().map(Change::Node).collect(),
            gone_namespaces.into_iter().map(Change::Namespace).collect(),
            gone_policies.into_iter().map(Change::Policy).collect(),
        ];
        changes.into_iter().flatten().collect()
    }
}

/// What to upsert, and what to delete.
fn edits<T: Object>(old: &BTreeMap<T::Key, T>, new: &BTreeMap<T::Key, T>) -> (Vec<Edit<T>>, Vec<Edit<T>>) {
    let changed = new.iter().filter(|(key, object)| {
        // Equality leaves out what no rule depends on, and questions about the world need the newest of that, too.
        old.get(key).is_none_or(|old| old != *object || old.differs_untranslated(object))
    });
    let gone = old.keys().filter(|key| !new.contains_key(key));
    (
        changed.map(|(_, object)| Edit::Upsert(object.clone())).collect(),
        gone.cloned().map(Edit::Delete).collect(),
    )
}
