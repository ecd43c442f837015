//! What one agent tells of drops, and is to tell.

use std::time::SystemTime;

use flock_proto::{DROPS_LIMIT, Drops, DropsWanted, Unlisted};
use flock_shared::NodeName;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::attach::TokenBucket;
use crate::drops::DropsHub;

/// Flows that an agent may tell at once, and a second. It tells less: this is for one that was taken over.
const BURST: u64 = 4 * DROPS_LIMIT as u64;
const RATE: u64 = 2 * DROPS_LIMIT as u64;

/// The drops of one stream.
#[derive(Debug)]
pub(super) struct StreamDrops {
    wanted: watch::Receiver<DropsWanted>,
    /// What the agent was told last; `None`: it tells nothing, and is told nothing.
    said: Option<DropsWanted>,
    budget: TokenBucket,
}

impl StreamDrops {
    /// Of an agent that tells them, or does not.
    pub(super) fn new(hub: &DropsHub, tells: bool) -> Self {
        let budget = TokenBucket::new(BURST, RATE, Instant::now());
        Self { wanted: hub.wanted(), said: tells.then(DropsWanted::default), budget }
    }

    /// What the agent is to be told now, if anything; it counts as told.
    pub(super) fn due(&mut self) -> Option<DropsWanted> {
        let wanted = *self.wanted.borrow_and_update();
        let said = self.said.as_mut()?;
        (std::mem::replace(said, wanted) != wanted).then_some(wanted)
    }

    /// Until something else may be wanted.
    pub(super) async fn changed(&mut self) {
        if self.said.is_none() || self.wanted.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The agent has told something. Of what is more than it may, the sum is kept.
    pub(super) fn told(&mut self, hub: &DropsHub, node: &NodeName, drops: Drops) {
        let now = Instant::now();
        let cost = drops.flows().len().max(8) as u64;
        let drops = match self.budget.ready(now) {
            Ok(()) => {
                self.budget.spend(cost, now);
                drops
            }
            Err(_) => summed(&drops),
        };
        if drops != Drops::default() {
            hub.record(node, drops, SystemTime::now());
        }
    }
}

/// The same packets without their flows.
fn summed(drops: &Drops) -> Drops {
    use flock_proto::DropDirection::{Egress, Ingress};
    let sum = |direction, more: u64| {
        let flows = drops.flows().iter().filter(|flow| flow.key.direction == direction);
        flows.fold(more, |sum, flow| sum.saturating_add(flow.packets))
    };
    let Unlisted { ingress, egress } = drops.unlisted;
    Drops::new(Vec::new(), Unlisted { ingress: sum(Ingress, ingress), egress: sum(Egress, egress) })
}
