//! The kinds that a server serves: data, so that a test can add another one.

use serde_json::Value;

/// A kind of objects and where it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Pod`.
    pub kind: &'static str,
    /// Plural as it stands in paths, such as `pods`.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// `v1.Pod`.
pub const POD: Kind = Kind { group: "", version: "v1", kind: "Pod", plural: "pods", namespaced: true };
/// `v1.Namespace`.
pub const NAMESPACE: Kind =
    Kind { group: "", version: "v1", kind: "Namespace", plural: "namespaces", namespaced: false };
/// `v1.Node`.
pub const NODE: Kind = Kind { group: "", version: "v1", kind: "Node", plural: "nodes", namespaced: false };
/// `networking.k8s.io/v1.NetworkPolicy`.
pub const NETWORK_POLICY: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    namespaced: true,
};

impl Kind {
    /// `apiVersion` as objects carry it.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The plural with its group, as messages name it.
    #[must_use]
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Namespace (empty for cluster-wide kinds) and name of an object; `None` if it has no name.
    pub(crate) fn key(&self, object: &Value) -> Option<(String, String)> {
        let metadata = object.get("metadata")?;
        let name = metadata.get("name")?.as_str()?.to_owned();
        let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or("default");
        Some((if self.namespaced { namespace.to_owned() } else { String::new() }, name))
    }
}
