//! Who may send to whom, and the policies that say so: clients and servers may, guests and the lobby may, nobody else.

use flock_testkit::NETWORK_POLICY;
use serde_json::json;

use crate::cluster::Cluster;

/// What a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Isolated both ways, but for servers.
    Client,
    /// Isolated both ways, but for clients.
    Server,
    /// Isolated both ways.
    Stranger,
    /// In a namespace without policies.
    Guest,
}

impl Role {
    /// Its namespace.
    pub(crate) const fn namespace(self) -> &'static str {
        match self {
            Self::Guest => "lobby",
            Self::Client | Self::Server | Self::Stranger => "shop",
        }
    }

    /// Its label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Stranger => "stranger",
            Self::Guest => "guest",
        }
    }

    /// Whether they may send to each other; written down by hand, not worked out from the policies.
    pub(crate) const fn may_talk_to(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Client, Self::Server) | (Self::Server, Self::Client) | (Self::Guest, Self::Guest)
        )
    }
}

/// Writes the namespaces and policies.
pub(crate) fn write(cluster: &Cluster) {
    [Role::Client, Role::Guest].iter().for_each(|role| cluster.namespace(role.namespace()));
    let deny = json!({
        "metadata": { "namespace": "shop", "name": "deny" },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"] },
    });
    cluster.api.put(NETWORK_POLICY, deny);
    for (own, other) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        let [own, other] = [own, other].map(Role::label);
        let peer = json!({ "podSelector": { "matchLabels": { "role": other } } });
        let policy = json!({
            "metadata": { "namespace": "shop", "name": own },
            "spec": {
                "podSelector": { "matchLabels": { "role": own } },
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{ "from": [peer] }],
                "egress": [{ "to": [peer] }],
            },
        });
        cluster.api.put(NETWORK_POLICY, policy);
    }
}
