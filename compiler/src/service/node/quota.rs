//! What one node may ask of this replica about its sandboxes: so many calls at once, so many a second, and its word of all
//! of them once a second. A node that was taken over would else have the engine look at nothing but what it says.
//!
//! By hand: tower's limits are of a service as a whole, and these are of each caller.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_shared::NodeName;
use flock_shared::cni::Sandbox;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::attach::correct;
use crate::attach::TokenBucket;
use crate::service::context::Context;

/// Calls that are under way. An agent has 60, and a stream that was lost may have left as many.
const AT_ONCE: usize = 128;
/// Calls at once and in a second: a node has 512 sandboxes at most, which may all end and begin together.
const CALLS: (u64, u64) = (1024, 200);
/// Nodes of which something is remembered; of more, those that have asked for nothing of late are forgotten.
const REMEMBERED: usize = 8192;

/// What nodes ask.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeQuotas(Arc<Mutex<BTreeMap<NodeName, Quota>>>);

#[derive(Debug)]
struct Quota {
    calls: TokenBucket,
    under_way: usize,
    /// The newest word of all of its sandboxes, until that is looked at.
    newest: Option<Vec<Sandbox>>,
    is_correcting: bool,
}

impl Quota {
    fn new(now: Instant) -> Self {
        let calls = TokenBucket::new(CALLS.0, CALLS.1, now);
        Self { calls, under_way: 0, newest: None, is_correcting: false }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.under_way == 0 && !self.is_correcting && self.calls.is_full(now)
    }
}

/// A call that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct CallPermit {
    quotas: NodeQuotas,
    node: NodeName,
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        if let Some(quota) = self.quotas.0.lock().get_mut(&self.node) {
            quota.under_way = quota.under_way.saturating_sub(1);
        }
    }
}

impl NodeQuotas {
    /// A node calls.
    ///
    /// # Errors
    /// When it has called too often; its agent calls again.
    pub(super) fn permit(&self, node: &NodeName) -> Result<CallPermit, Status> {
        let now = Instant::now();
        let mut quotas = self.0.lock();
        let quota = remembered(&mut quotas, node, now);
        if quota.under_way >= AT_ONCE || quota.calls.ready(now).is_err() {
            return Err(Status::resource_exhausted("the node has called too often"));
        }
        quota.calls.spend(1, now);
        quota.under_way += 1;
        Ok(CallPermit { quotas: self.clone(), node: node.clone() })
    }

    /// A node says what sandboxes it has, which is looked at once what it said before has been.
    pub(super) fn said(&self, context: &Context, node: &NodeName, all: Vec<Sandbox>) {
        let mut quotas = self.0.lock();
        let quota = remembered(&mut quotas, node, Instant::now());
        // The newest word replaces one that was not looked at yet: it is of all sandboxes.
        quota.newest = Some(all);
        if !std::mem::replace(&mut quota.is_correcting, true) {
            // On a task of its own: a stream does not wait for the API server.
            drop(tokio::spawn(self.clone().correct(context.clone(), node.clone())));
        }
    }

    async fn correct(self, context: Context, node: NodeName) {
        while let Some(all) = self.newest(&node) {
            correct(&context, &node, all).await;
            // Whatever is said meanwhile is looked at once: an agent cannot make the engine look more often.
            sleep(context.limits.facts).await;
        }
    }

    fn newest(&self, node: &NodeName) -> Option<Vec<Sandbox>> {
        let mut quotas = self.0.lock();
        let quota = quotas.get_mut(node)?;
        // Under one lock: a word that comes right after finds nobody at it, and begins anew.
        let newest = quota.newest.take();
        quota.is_correcting = newest.is_some();
        newest
    }
}

fn remembered<'a>(quotas: &'a mut BTreeMap<NodeName, Quota>, node: &NodeName, now: Instant) -> &'a mut Quota {
    if quotas.len() >= REMEMBERED && !quotas.contains_key(node) {
        // A quota that is whole again says nothing that a new one would not.
        quotas.retain(|_, quota| !quota.is_idle(now));
    }
    quotas.entry(node.clone()).or_insert_with(|| Quota::new(now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(number: usize) -> NodeName {
        NodeName::new(&format!("n{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_has_so_many_calls_and_takes_none_from_others() {
        let quotas = NodeQuotas::default();
        let mut turns: Vec<CallPermit> = (0..AT_ONCE).map(|_| quotas.permit(&name(1)).unwrap()).collect();
        assert_eq!(quotas.permit(&name(1)).unwrap_err().code(), tonic::Code::ResourceExhausted);
        quotas.permit(&name(2)).unwrap();
        turns.pop();
        quotas.permit(&name(1)).unwrap();
        drop(turns);
        // One after the other, as fast as it can.
        let made = (0..5000).filter(|_| quotas.permit(&name(1)).is_ok()).count();
        assert!((800..1024).contains(&made), "{made}");
        sleep(Duration::from_secs(1)).await;
        let made = (0..5000).filter(|_| quotas.permit(&name(1)).is_ok()).count();
        assert!((195..=205).contains(&made), "{made}");
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_that_are_gone_are_forgotten() {
        let quotas = NodeQuotas::default();
        let _busy = quotas.permit(&name(0)).unwrap();
        for number in 1..=REMEMBERED {
            sleep(Duration::from_millis(1)).await;
            quotas.permit(&name(number)).unwrap();
        }
        let remembered = quotas.0.lock().len();
        assert!(remembered < 100, "{remembered}");
        assert!(quotas.0.lock().contains_key(&name(0)));
    }
}
