//! Things that go wrong between the compiler, the agents and nft: every node ends with the right table, and nothing
//! has to be started anew for it.

mod cutter;
mod killed;
mod lost;
mod nft;
mod proxy;
mod refusals;

use crate::ground::NODES;
use crate::manifests::DENY;
use crate::site::Site;
use crate::support::process::Process;
use crate::support::table::{differences, table};

/// A site whose agents have followed some changes: where updates can be deltas, n1 stands on one.
pub(super) fn site(tag: &str) -> Option<Site> {
    let site = Site::new(tag)?;
    site.manifests.put("policies.yaml", DENY);
    Some(site)
}

impl Site {
    /// Starts the agent of n1, which calls the compiler under another address, and that of n2; then goes through the
    /// first changes.
    pub(super) fn agents_by_way_of(&self, url: &str) -> [Process; 2] {
        let agents = [self.ground.agent("n1", url, &[]), self.agent("n2", &[])];
        for number in 1..=2 {
            self.change(number);
            self.settle();
        }
        agents
    }

    /// One more change that both nodes must follow. Each number makes another one.
    pub(super) fn change(&self, number: u8) {
        let policy = format!(
            "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: shop, name: allow}}
spec:
  podSelector: {{}}
  policyTypes: [Ingress]
  ingress:
  - from: [{{podSelector: {{matchLabels: {{app: web}}}}}}, {{ipBlock: {{cidr: 192.0.2.{number}/32}}}}]
    ports: [{{port: {number}}}]
"
        );
        self.manifests.put("change.yaml", &policy);
    }

    /// Waits until both nodes have what the directory says now, and looks whether their tables are what a full script
    /// makes of nothing. `tag` tells the nodes that it makes for that from earlier ones.
    pub(super) fn converges(&self, tag: &str) {
        self.settle();
        for node in NODES {
            let status = self.flockctl.node(node);
            assert!(status.current && status.connected, "{status:?}");
            assert_eq!(status.last_outcome, None, "{status:?}");
            let fresh = self.ground.another(&format!("{tag}-{node}"));
            fresh.nft(std::str::from_utf8(&self.manifests.render(node)).unwrap()).unwrap();
            let found = differences(&table(self.ground.node(node)), &table(&fresh));
            assert_eq!(found, Vec::<String>::new(), "{node}");
        }
    }
}
