//! The kinds that are watched, and what differs between them.

use flock_compiler_core::change::Object;
use flock_compiler_core::object::{Namespace, Node, NodePods, Pod, Policy};
use flock_compiler_core::{Change, Edit};
use flock_shared::{NameError, NamespaceName, NodeName, ObjectKey};
use serde_json::Value;

use super::raw::RawObject;
use super::statistics::{KindStatistics, Statistics};
use crate::source::Kind;
use flock_convert::{ConvertError, Converter};

/// The namespace of a namespaced object that names none, as the converter reads it.
const DEFAULT_NAMESPACE: &str = "default";

/// A kind of objects that is watched.
pub(super) trait Watched: Object<Key: Send + Sync> + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;
    /// Where all its objects are listed.
    const PATH: &'static str;
    /// True if the cluster may do without this kind.
    const OPTIONAL: bool = false;

    /// Converts an object of this kind.
    fn convert(converter: &Converter, value: &Value) -> Result<Self, ConvertError>;

    /// The key of an object, even of one that cannot be converted.
    fn key_of(raw: &RawObject) -> Result<Self::Key, NameError>;

    /// The change that an edit of this kind is.
    fn change(edit: Edit<Self>) -> Change;

    /// The counters of this kind.
    fn statistics(all: &Statistics) -> &KindStatistics;
}

impl Watched for Node {
    const KIND: Kind = Kind::Node;
    const PATH: &'static str = "/api/v1/nodes";

    fn convert(converter: &Converter, value: &Value) -> Result<Self, ConvertError> {
        converter.node(value)
    }

    fn key_of(raw: &RawObject) -> Result<NodeName, NameError> {
        NodeName::new(raw.name())
    }

    fn change(edit: Edit<Self>) -> Change {
        Change::Node(edit)
    }

    fn statistics(all: &Statistics) -> &KindStatistics {
        &all.nodes
    }
}

impl Watched for Namespace {
    const KIND: Kind = Kind::Namespace;
    const PATH: &'static str = "/api/v1/namespaces";

    fn convert(converter: &Converter, value: &Value) -> Result<Self, ConvertError> {
        converter.namespace(value)
    }

    fn key_of(raw: &RawObject) -> Result<NamespaceName, NameError> {
        NamespaceName::new(raw.name())
    }

    fn change(edit: Edit<Self>) -> Change {
        Change::Namespace(edit)
    }

    fn statistics(all: &Statistics) -> &KindStatistics {
        &all.namespaces
    }
}

impl Watched for Pod {
    const KIND: Kind = Kind::Pod;
    const PATH: &'static str = "/api/v1/pods";

    fn convert(converter: &Converter, value: &Value) -> Result<Self, ConvertError> {
        converter.pod(value)
    }

    fn key_of(raw: &RawObject) -> Result<ObjectKey, NameError> {
        ObjectKey::new(raw.namespace().unwrap_or(DEFAULT_NAMESPACE), raw.name())
    }

    fn change(edit: Edit<Self>) -> Change {
        Change::Pod(edit)
    }

    fn statistics(all: &Statistics) -> &KindStatistics {
        &all.pods
    }
}

impl Watched for Policy {
    const KIND: Kind = Kind::NetworkPolicy;
    const PATH: &'static str = "/apis/networking.k8s.io/v1/networkpolicies";

    fn convert(converter: &Converter, value: &Value) -> Result<Self, ConvertError> {
        converter.policy(value)
    }

    fn key_of(raw: &RawObject) -> Result<ObjectKey, NameError> {
        ObjectKey::new(raw.namespace().unwrap_or(DEFAULT_NAMESPACE), raw.name())
    }

    fn change(edit: Edit<Self>) -> Change {
        Change::Policy(edit)
    }

    fn statistics(all: &Statistics) -> &KindStatistics {
        &all.policies
    }
}

impl Watched for NodePods {
    const KIND: Kind = Kind::NodePods;
    const PATH: &'static str = "/apis/flock.netpol/v1alpha1/nodepods";
    const OPTIONAL: bool = true;

    fn convert(converter: &Converter, value: &Value) -> Result<Self, ConvertError> {
        converter.node_pods(value)
    }

    fn key_of(raw: &RawObject) -> Result<NodeName, NameError> {
        NodeName::new(raw.name())
    }

    fn change(edit: Edit<Self>) -> Change {
        Change::NodePods(edit)
    }

    fn statistics(all: &Statistics) -> &KindStatistics {
        &all.node_pods
    }
}
