//! How long some connections are left to the nodes of other pods, which have to forget them first. Pure.
//!
//! ```text
//! the table is new ── 2.5 s: left to them ──┬── 3.5 s: nothing is left to them ──▶ again
//! first look of the node's agent ───────────┴ 3 s: its last look
//! ```

use std::time::Duration;

use flock_proto::LAST_LOOK;
use tokio::time::Instant;

/// Whether the nodes of other pods have had the time to forget what the asking one denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FarNodes {
    /// Its table is new: they are about to.
    Forgetting,
    /// They have, or will not.
    Settled,
}

/// For so long after a node's table has changed, the nodes of its pods' peers are about to look at connections by that.
const SETTLING: Duration = Duration::from_millis(2500);
/// For so long nothing more is left to them then, however often the table changes.
const SETTLED: Duration = Duration::from_millis(3500);

// What is left to them the node's own agent asks for once more, when it is not left to them any longer.
const _: () =
    assert!(SETTLING.as_millis() < LAST_LOOK.as_millis() && LAST_LOOK.as_millis() < SETTLED.as_millis());

/// Since when something is left to the nodes of other pods.
#[derive(Debug, Default)]
pub(super) struct Forgetting(Option<Instant>);

impl Forgetting {
    /// What a question at this time is to take the other nodes for, from a node whose table has stood for so long.
    pub(super) fn far_nodes(&self, stood_for: Option<Duration>, now: Instant) -> FarNodes {
        let is_new = stood_for.is_none_or(|stood_for| stood_for < SETTLING);
        let may_leave = self.0.is_none_or(|since| now < since + SETTLING || Self::is_over(since, now));
        if is_new && may_leave { FarNodes::Forgetting } else { FarNodes::Settled }
    }

    /// The answer has left something to them.
    pub(super) fn left(&mut self, now: Instant) {
        if self.0.is_none_or(|since| Self::is_over(since, now)) {
            self.0 = Some(now);
        }
    }

    fn is_over(since: Instant, now: Instant) -> bool {
        now >= since + SETTLING + SETTLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_others_for_long_however_often_the_table_changes() {
        let (mut forgetting, start) = (Forgetting::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(forgetting.far_nodes(Some(second * 60), start), FarNodes::Settled);
        for seconds in 0..20 {
            let now = start + second * seconds;
            let is_left = forgetting.far_nodes(Some(Duration::ZERO), now) == FarNodes::Forgetting;
            assert_eq!(is_left, seconds % 6 < 3, "{seconds}");
            if is_left {
                forgetting.left(now);
            }
        }
        assert_eq!(forgetting.far_nodes(Some(second * 3), start + second * 60), FarNodes::Settled);
        assert_eq!(forgetting.far_nodes(None, start + second * 60), FarNodes::Forgetting);
    }
}
