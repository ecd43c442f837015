//! The kinds that a server serves: data, so that a test can add another one. What is asked for by creating it
//! (reviews, tokens) or through an object (port-forwarding) is a kind here too, so that it can be counted and fail.

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
    /// Plural as it stands in paths, such as `pods`; for a subresource as roles name it, such as `pods/portforward`.
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

/// `flock.netpol/v1alpha1.NodePods`.
pub const NODE_PODS: Kind = Kind {
    group: "flock.netpol",
    version: "v1alpha1",
    kind: "NodePods",
    plural: "nodepods",
    namespaced: false,
};

/// `v1.Secret`: `stringData` goes into `data` when it is written.
pub const SECRET: Kind =
    Kind { group: "", version: "v1", kind: "Secret", plural: "secrets", namespaced: true };
/// `v1.ConfigMap`.
pub const CONFIG_MAP: Kind =
    Kind { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps", namespaced: true };
/// `v1.Service`.
pub const SERVICE: Kind =
    Kind { group: "", version: "v1", kind: "Service", plural: "services", namespaced: true };
/// `v1.ServiceAccount`.
pub const SERVICE_ACCOUNT: Kind =
    Kind { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts", namespaced: true };
/// `authentication.k8s.io/v1.TokenReview`: who is behind a token. Created, never stored.
pub const TOKEN_REVIEW: Kind = Kind {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenReview",
    plural: "tokenreviews",
    namespaced: false,
};
/// `authorization.k8s.io/v1.SubjectAccessReview`: whether somebody may do something. Created, never stored.
pub const SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    namespaced: false,
};
/// `authorization.k8s.io/v1.SelfSubjectAccessReview`: whether whoever asks may do something. Created, never stored.
pub const SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    namespaced: false,
};
/// `authentication.k8s.io/v1.TokenRequest` of a service account. Created, never stored.
pub const TOKEN_REQUEST: Kind = Kind {
    group: "",
    version: "v1",
    kind: "TokenRequest",
    plural: "serviceaccounts/token",
    namespaced: true,
};
/// `events.k8s.io/v1.Event`.
pub const EVENT: Kind =
    Kind { group: "events.k8s.io", version: "v1", kind: "Event", plural: "events", namespaced: true };
/// Ports of a pod by websocket; [`Verb::Get`](crate::Verb::Get), as roles see it.
pub const PORT_FORWARD: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PodPortForwardOptions",
    plural: "pods/portforward",
    namespaced: true,
};

/// What a server serves unless it is told otherwise.
pub(crate) const SERVED: [Kind; 15] = [
    POD,
    NAMESPACE,
    NODE,
    NETWORK_POLICY,
    NODE_PODS,
    SECRET,
    CONFIG_MAP,
    SERVICE,
    SERVICE_ACCOUNT,
    TOKEN_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    TOKEN_REQUEST,
    EVENT,
    PORT_FORWARD,
];

impl Kind {
    /// Returns true if a CustomResourceDefinition makes it: of such objects a server treats some things in another way.
    pub(crate) fn is_custom(&self) -> bool {
        !self.group.is_empty() && !self.group.ends_with(".k8s.io")
    }

    /// Returns true if it is a part of another kind's objects.
    pub(crate) fn is_subresource(&self) -> bool {
        self.plural.contains('/')
    }

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
