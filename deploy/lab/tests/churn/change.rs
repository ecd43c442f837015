//! One change of an object: on the model, and on the API server.

use std::fmt;

use flock_testkit::{Kind, NAMESPACE, NETWORK_POLICY, POD, Store};

use crate::objects;
use flock_model::oracle::cluster::{Cluster, Namespace, Pod, Policy, Text};

/// What happens to one object.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    PutPod(Pod),
    RemovePod(Text, Text),
    PutPolicy(Policy),
    RemovePolicy(Text, Text),
    PutNamespace(Namespace),
}

impl Change {
    /// The kind of its object. Changes of one kind arrive in order; those of different kinds in any.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::PutPod(_) | Self::RemovePod(..) => POD,
            Self::PutPolicy(_) | Self::RemovePolicy(..) => NETWORK_POLICY,
            Self::PutNamespace(_) => NAMESPACE,
        }
    }

    pub(crate) fn apply(&self, cluster: &mut Cluster) {
        match self {
            Self::PutPod(pod) => {
                cluster.pods.retain(|other| (other.namespace, other.name) != (pod.namespace, pod.name));
                cluster.pods.push(pod.clone());
            }
            Self::RemovePod(namespace, name) => {
                cluster.pods.retain(|pod| (pod.namespace, pod.name) != (*namespace, *name));
            }
            Self::PutPolicy(policy) => {
                let key = (policy.namespace, policy.name);
                cluster.policies.retain(|other| (other.namespace, other.name) != key);
                cluster.policies.push(policy.clone());
            }
            Self::RemovePolicy(namespace, name) => {
                cluster.policies.retain(|policy| (policy.namespace, policy.name) != (*namespace, *name));
            }
            Self::PutNamespace(namespace) => {
                cluster.namespaces.retain(|other| other.name != namespace.name);
                cluster.namespaces.push(namespace.clone());
            }
        }
    }

    pub(crate) fn send(&self, store: &Store) {
        let kind = self.kind();
        match self {
            Self::PutPod(pod) => store.put(kind, objects::pod(pod)),
            Self::PutPolicy(policy) => store.put(kind, objects::policy(policy)),
            Self::PutNamespace(namespace) => store.put(kind, objects::namespace(namespace)),
            Self::RemovePod(namespace, name) | Self::RemovePolicy(namespace, name) => {
                store.remove(kind, namespace, name)
            }
        }
        .unwrap();
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text of a cluster that has nothing but the object.
        let mut alone = Cluster::default();
        self.apply(&mut alone);
        match self {
            Self::RemovePod(namespace, name) => write!(f, "pod {namespace}/{name} removed"),
            Self::RemovePolicy(namespace, name) => write!(f, "policy {namespace}/{name} removed"),
            _ => write!(f, "{}", alone.to_string().trim()),
        }
    }
}
