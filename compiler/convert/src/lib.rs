#![doc = include_str!("../README.md")]

mod address;
mod field;
mod host_interface;
mod label;
pub mod manifests;
mod metadata;
mod namespace;
mod node;
mod node_pods;
mod owner;
mod pod;
mod policy;
mod policy_peer;
mod policy_port;
mod selector;
mod service;
#[cfg(test)]
mod tests;
mod workload;

use std::sync::Arc;

use flock_compiler_core::object::{Fault, Namespace, Node, NodePods, Pod, Policy, Service, WorkloadKind};
use flock_compiler_core::{Consequence, Problem};
use flock_shared::{NamespaceName, ObjectKey};
use ipnet::IpNet;
use serde_json::Value;

pub use host_interface::{HostInterfaces, HostInterfacesError};
pub use node_pods::{MOST_ADDRESSES, MOST_SANDBOXES};
pub use workload::{StandIn, Workloads};

pub(crate) use field::describe;
use field::{Faults, quoted};

/// An object of one of the kinds that the compiler watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterObject {
    /// `v1.Node`
    Node(Node),
    /// `v1.Namespace`
    Namespace(Namespace),
    /// `v1.Pod`
    Pod(Pod),
    /// `networking.k8s.io/v1.NetworkPolicy`
    Policy(Policy),
    /// `flock.netpol/v1alpha1.NodePods`
    NodePods(NodePods),
}

/// What an object came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Converted {
    /// An object of a watched kind.
    Object(ClusterObject),
    /// A workload, by a pod that stands for its pods; only where [`Workloads::StandForPods`] says so.
    StandIn(StandIn),
    /// A Service; only where [`Workloads::StandForPods`] says so.
    Service(ObjectKey, Service),
    /// The blocks of a ServiceCIDR; only where [`Workloads::StandForPods`] says so.
    ServiceCidrs(Vec<IpNet>),
    /// An object of another kind: none of the compiler's business.
    Unknown {
        /// `apiVersion`; safe to print.
        api_version: String,
        /// `kind`; safe to print.
        kind: String,
        /// Kind, namespace and name for messages; safe to print.
        title: String,
    },
}

/// Why an object cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// Not a Kubernetes object: no `apiVersion` and `kind`, or not even a map.
    #[error("{origin}: {}{message}", field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default())]
    NotAnObject {
        /// Where it came from.
        origin: Arc<str>,
        /// The field that is missing or wrong; `None` for the whole.
        field: Option<String>,
        /// What was found and what was expected.
        message: String,
    },
    /// An object whose identity, labels or place cannot be understood.
    #[error("{}", list(object, faults))]
    Unusable {
        /// Kind, namespace and name, as far as they could be read; safe to print.
        object: String,
        /// The namespace, if the object is in one and it could be read.
        namespace: Option<NamespaceName>,
        /// What was not understood; at least one.
        faults: Vec<Fault>,
    },
}

fn list(object: &str, faults: &[Fault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}: {object}: {}: {}", fault.origin, fault.field, fault.message))
        .collect();
    lines.join("\n")
}

impl ConvertError {
    /// One problem for each fault.
    #[must_use]
    pub fn problems(&self, consequence: Consequence) -> Vec<Problem> {
        match self {
            Self::NotAnObject { origin, field, message } => vec![Problem {
                object: String::new(),
                namespace: None,
                origin: Some(Arc::clone(origin)),
                field: field.clone().unwrap_or_default(),
                message: message.clone(),
                consequence,
            }],
            Self::Unusable { object, namespace, faults } => faults
                .iter()
                .map(|fault| Problem {
                    object: object.clone(),
                    namespace: namespace.clone(),
                    origin: Some(Arc::clone(&fault.origin)),
                    field: fault.field.clone(),
                    message: fault.message.clone(),
                    consequence,
                })
                .collect(),
        }
    }
}

/// Converts the objects of one origin.
#[derive(Debug, Clone)]
pub struct Converter {
    origin: Arc<str>,
    interfaces: HostInterfaces,
    workloads: Workloads,
}

impl Converter {
    /// A converter of objects from `origin`: a file's path as the user gave it, `<stdin>`, or `kubernetes`.
    #[must_use]
    pub fn new(origin: impl Into<Arc<str>>, interfaces: HostInterfaces) -> Self {
        Self { origin: origin.into(), interfaces, workloads: Workloads::Ignored }
    }

    /// The same one, which does so with workloads and Services.
    #[must_use]
    pub fn with_workloads(self, workloads: Workloads) -> Self {
        Self { workloads, ..self }
    }

    /// Where the objects come from.
    #[must_use]
    pub const fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Converts an object by its `apiVersion` and `kind`.
    ///
    /// # Errors
    /// If it is no Kubernetes object, or if it lacks what every object of its kind must have.
    pub fn object(&self, value: &Value) -> Result<Converted, ConvertError> {
        if !value.is_object() {
            let message = format!("found {}; expected a Kubernetes object", describe(value));
            return Err(ConvertError::NotAnObject { origin: Arc::clone(&self.origin), field: None, message });
        }
        let kind = self.type_field(value, "kind")?;
        let api_version = self.type_field(value, "apiVersion")?;
        // The group of a core object is empty. Another version of a group still names the same thing.
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let object = match (group, kind) {
            ("", "Node") => ClusterObject::Node(self.node(value)?),
            ("", "Namespace") => ClusterObject::Namespace(self.namespace(value)?),
            ("", "Pod") => ClusterObject::Pod(self.pod(value)?),
            ("flock.netpol", "NodePods") => ClusterObject::NodePods(self.node_pods(value)?),
            // Policies were of `extensions` once. Passed over, such a one would isolate nobody; `policy` lets it
            // isolate.
            ("networking.k8s.io" | "extensions", "NetworkPolicy") => {
                ClusterObject::Policy(self.policy(value)?)
            }
            _ => {
                return Ok(self.unwatched(group, kind, value)?.unwrap_or_else(|| Converted::Unknown {
                    api_version: metadata::plain(api_version),
                    kind: metadata::plain(kind),
                    title: metadata::title(kind, value),
                }));
            }
        };
        Ok(Converted::Object(object))
    }

    /// An object that a compiler does not watch and people ask about.
    fn unwatched(&self, group: &str, kind: &str, value: &Value) -> Result<Option<Converted>, ConvertError> {
        if self.workloads == Workloads::Ignored {
            return Ok(None);
        }
        if (group, kind) == ("", "Service") {
            let (key, service) = self.service(value)?;
            return Ok(Some(Converted::Service(key, service)));
        }
        if (group, kind) == ("networking.k8s.io", "ServiceCIDR") {
            return Ok(Some(Converted::ServiceCidrs(self.service_cidrs(value)?)));
        }
        let Some(kind) = WorkloadKind::of_object(group, kind) else { return Ok(None) };
        Ok(Some(Converted::StandIn(self.workload(kind, value)?)))
    }

    fn type_field<'a>(&self, value: &'a Value, key: &str) -> Result<&'a str, ConvertError> {
        let found = value.get(key).filter(|found| !found.is_null());
        let message = match found {
            Some(Value::String(text)) if !text.is_empty() => return Ok(text),
            Some(other) => format!("found {}; expected a string", describe(other)),
            None => "is missing; every Kubernetes object has apiVersion and kind".to_owned(),
        };
        // Without its type an object has no title, and a listing may hold thousands: what can be read of it is told.
        let known = value.get("kind").and_then(Value::as_str).map_or("an object".to_owned(), metadata::plain);
        let message =
            match value.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str) {
                Some(name) => format!("{message} ({known} named {})", quoted(name)),
                None => message,
            };
        Err(ConvertError::NotAnObject {
            origin: Arc::clone(&self.origin),
            field: Some(key.to_owned()),
            message,
        })
    }

    fn faults(&self) -> Faults {
        Faults::new(&self.origin)
    }
}

/// The object, or what makes it unusable.
fn usable<T>(kind: &str, value: &Value, object: Option<T>, fatal: Faults) -> Result<T, ConvertError> {
    match object {
        Some(object) if fatal.is_empty() => Ok(object),
        _ => Err(ConvertError::Unusable {
            object: metadata::title(kind, value),
            namespace: metadata::namespace(kind, value),
            faults: fatal.into_vec(),
        }),
    }
}
