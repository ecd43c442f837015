//! What nodes have acknowledged: the state that stands there, and when of late each pass was reached. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use flock_shared::Revision;

use crate::engine::{Published, Sequence};

/// Acknowledgements of a node that are kept: of busy minutes, or of quiet hours. 5,000 nodes have 5 MB of them.
const KEPT: usize = 64;

/// What stands on a node.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The state. Outputs share what they have in common, so an old one costs what differs.
    pub state: Arc<Published>,
    /// A pass by whose objects the node should have had this.
    pub sequence: Sequence,
    /// Since when it is known to stand there.
    pub since: SystemTime,
}

/// What one node has acknowledged to this replica.
#[derive(Debug, Clone, Default)]
pub struct NodeAcks {
    standing: Option<Standing>,
    /// The very first.
    first: Option<(Sequence, SystemTime)>,
    reached: VecDeque<(Sequence, SystemTime)>,
}

impl NodeAcks {
    /// The agent has come anew, and says what stands there. Returns true if that is something else than what is known.
    pub(super) fn opened(&mut self, applied: Option<&Revision>) -> bool {
        self.standing.take_if(|it| Some(it.state.revision()) != applied).is_some()
    }

    /// The node has what a pass has published for it.
    pub(super) fn reached(&mut self, sequence: Sequence, state: &Arc<Published>, now: SystemTime) {
        match &mut self.standing {
            // Back and forth comes to the same.
            Some(known) if known.state.revision() == state.revision() => known.sequence = sequence,
            standing => *standing = Some(Standing { state: Arc::clone(state), sequence, since: now }),
        }
        self.first.get_or_insert((sequence, now));
        if self.reached.back().is_none_or(|(newest, _)| *newest < sequence) {
            if self.reached.len() >= KEPT {
                self.reached.pop_front();
            }
            self.reached.push_back((sequence, now));
        }
    }

    /// What stands on the node, as far as this replica knows.
    #[must_use]
    pub const fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// When the node first had what a pass, or a later one, has published for it; `None`: it has not, as far as is known. What
    /// is longer ago than what is kept is said of the oldest that is.
    #[must_use]
    pub fn had(&self, sequence: Sequence) -> Option<SystemTime> {
        // The first acknowledgement may be of a later pass, which has all that came before.
        if let Some((_, at)) = self.first.filter(|(first, _)| *first >= sequence) {
            return Some(at);
        }
        let first = self.reached.partition_point(|(reached, _)| *reached < sequence);
        self.reached.get(first).map(|(_, at)| *at)
    }
}
