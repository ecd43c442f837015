//! Things that go wrong between the compiler, the agents and nft: every node ends with the right table, and nothing
//! has to be started anew for it.

mod cutter;
mod impatient;
mod killed;
mod lost;
mod nft;
mod proxy;
mod refusals;

use crate::flockctl::Flockctl;
use crate::ground::{Ground, NODES};
use crate::manifests::{DENY, Manifests, revision_of};
use crate::site::{Site, settle};
use crate::support::process::Process;
use crate::support::table::{differences, table};

/// A site where nobody reaches anybody.
fn site(tag: &str) -> Option<Site> {
    let site = Site::new(tag)?;
    site.manifests.put("policies.yaml", DENY);
    Some(site)
}

impl Site {
    /// Starts the agent of n1, which calls the compiler under another address, and that of n2; then goes through
    /// changes, so that the agents stand on deltas.
    fn agents_by_way_of(&self, url: &str) -> [Process; 2] {
        let agents = [self.ground.agent("n1", url, &[]), self.agent("n2", &[])];
        for number in 1..=2 {
            self.change(number);
            self.settle();
        }
        agents
    }

    fn change(&self, number: u8) {
        change(&self.manifests, number);
    }

    fn converges(&self, tag: &str) {
        converges(&self.ground, &self.flockctl, &self.manifests, tag);
    }
}

/// One more change that both nodes must follow. Each number makes another one.
fn change(manifests: &Manifests, number: u8) {
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
    manifests.put("change.yaml", &policy);
}

/// Waits until both nodes have what the directory says now, and looks whether their tables are what a full script
/// makes of nothing. `tag` tells the nodes that it makes for that from earlier ones.
fn converges(ground: &Ground, flockctl: &Flockctl, manifests: &Manifests, tag: &str) {
    for node in NODES {
        let script = manifests.render(node);
        settle(ground, flockctl, node, &revision_of(&script));
        let status = flockctl.node(node);
        assert!(status.current && status.connected, "{status:?}");
        assert_eq!(status.last_outcome, None, "{status:?}");
        let fresh = ground.another(&format!("{tag}-{node}"));
        fresh.nft(std::str::from_utf8(&script).unwrap()).unwrap();
        let found = differences(&table(ground.node(node)), &table(&fresh));
        assert_eq!(found, Vec::<String>::new(), "{node}");
    }
}
