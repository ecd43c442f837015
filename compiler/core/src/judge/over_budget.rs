//! The pods that are closed because their policies cost more than is allowed.

use std::collections::BTreeSet;

use flock_shared::PodKey;

use crate::object::Direction;

/// The pods that are closed in a direction because their policies cost more than is allowed. The API's words do not tell
/// which these are: it is a fact of the translation ([`Translator::over_budget`](crate::Translator::over_budget)), which a
/// judge is told ([`Judge::with_over_budget`](super::Judge::with_over_budget)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodsOverBudget(BTreeSet<(PodKey, Direction)>);

impl PodsOverBudget {
    /// Returns true if a pod is closed in a direction.
    #[must_use]
    pub fn contains(&self, pod: &PodKey, direction: Direction) -> bool {
        // Nearly always nobody is, and no key has to be made to look that up.
        !self.0.is_empty() && self.0.contains(&(pod.clone(), direction))
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&PodKey, Direction)> {
        self.0.iter().map(|(pod, direction)| (pod, *direction))
    }
}

impl FromIterator<(PodKey, Direction)> for PodsOverBudget {
    fn from_iter<I: IntoIterator<Item = (PodKey, Direction)>>(pods: I) -> Self {
        Self(pods.into_iter().collect())
    }
}
