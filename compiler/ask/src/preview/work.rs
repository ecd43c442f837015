//! How much one answer may cost: whoever may write policies decides what there is to compare.

use crate::AskError;

/// Steps of an answer: a selector asked of a pod, a rule looked at, a name written. A step takes less than 100 ns, and keeps
/// at most a few bytes.
const MOST: u64 = 40_000_000;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Work {
    most: u64,
    left: u64,
}

impl Default for Work {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Work {
    pub(super) const fn of(most: u64) -> Self {
        Self { most, left: most }
    }

    /// What is left.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    /// Takes so many steps.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), AskError> {
        let most = self.most;
        let left = self.left.checked_sub(steps as u64);
        self.left = left.ok_or_else(|| {
            AskError::TooLarge(format!(
                "to compare before and after would take more than {most} steps: preview fewer policies at once, or policies \
                 with fewer rules"
            ))
        })?;
        Ok(())
    }
}
