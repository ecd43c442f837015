//! How many flows passes have opened and closed by policies and namespaces, for who asks: it is `preview` of each, against the
//! objects before it. The engine and the mirror have nothing to do with it.
//!
//! The newest are counted first, and all together have so much work; of those beyond it is not known. Neither is it of what pods
//! and nodes bring: they open and close flows of their own by coming and going, which is no decision of a policy.

use std::collections::{BTreeMap, BTreeSet};

use flock_ask::{Cluster, Proposed, previewed};
use flock_compiler_core::World;
use flock_compiler_core::world::Differences;
use flock_shared::{NamespaceName, PolicyKey};

use super::questions::Asked;
use crate::engine::Sequence;
use crate::mirror::Mirror;

/// Steps of all that is counted for one answer: less than a second.
const STEPS: u64 = 10_000_000;
/// Passes that are counted for one answer.
const COUNTED: usize = 32;

/// What each of some passes, the newest first, has opened and closed, as far as that is known.
pub(super) fn counts(
    asked: &Asked<'_>,
    mirror: &Mirror,
    passes: impl Iterator<Item = Sequence>,
) -> BTreeMap<Sequence, (u64, u64)> {
    let wanted: BTreeSet<Sequence> = passes.take(COUNTED).collect();
    let Some(oldest) = wanted.first() else { return BTreeMap::new() };
    let newest = asked.snapshot.mirrored.sequence;
    let changes = mirror.history(|history| history.changes(newest, *oldest));
    // Where nobody changed a policy, no copy of the maps is made.
    let mut world = World::default();
    let (mut counts, mut steps, mut is_begun) = (BTreeMap::new(), STEPS, false);
    for (sequence, differences) in changes {
        if !std::mem::replace(&mut is_begun, true) {
            world = asked.cluster.world.clone();
        }
        let touched = Touched::by(&differences).filter(|_| wanted.contains(&sequence));
        let after = touched.as_ref().map(|touched| touched.of(&world));
        // Policies first, so that what they opened is counted with the pods and nodes that there were after the pass.
        differences.iter().rev().filter(|it| is_about_policies(it)).for_each(|it| world.rewind(it));
        if let (Some(touched), Some(after)) = (&touched, after)
            && let Some(proposed) = touched.proposed(&world, after)
        {
            let before = Cluster { world: &world, index: None, ..asked.cluster.clone() };
            match previewed(&before, &proposed, asked.sight, &mut steps) {
                Ok(count) => {
                    counts.insert(sequence, count);
                }
                // The work for all passes is used up, or this one changes too many rows: earlier ones are not counted.
                Err(flock_ask::AskError::TooLarge(_)) => break,
                // Whoever asks may not see all that it was about.
                Err(_) => {}
            }
        }
        differences.iter().rev().filter(|it| !is_about_policies(it)).for_each(|it| world.rewind(it));
    }
    counts
}

const fn is_about_policies(differences: &Differences) -> bool {
    matches!(differences, Differences::Policies(_) | Differences::Namespaces(_))
}

/// Policies and namespaces that a pass was about.
struct Touched {
    policies: BTreeSet<PolicyKey>,
    namespaces: BTreeSet<NamespaceName>,
}

/// How they are in a world: those that are there.
type States = Proposed;

impl Touched {
    fn by(all: &[Differences]) -> Option<Self> {
        let mut touched = Self { policies: BTreeSet::new(), namespaces: BTreeSet::new() };
        for differences in all {
            match differences {
                Differences::Policies(all) => {
                    let all = all.iter().filter(|it| it.is_translated()).filter_map(|it| it.newest());
                    touched.policies.extend(all.map(|policy| policy.key.clone()));
                }
                Differences::Namespaces(all) => {
                    let all = all.iter().filter(|it| it.is_translated()).filter_map(|it| it.newest());
                    touched.namespaces.extend(all.map(|namespace| namespace.name.clone()));
                }
                _ => {}
            }
        }
        (!touched.policies.is_empty() || !touched.namespaces.is_empty()).then_some(touched)
    }

    fn of(&self, world: &World) -> States {
        let policies = self.policies.iter().filter_map(|key| world.policies().get(key));
        let namespaces = self.namespaces.iter().filter_map(|name| world.namespaces().get(name));
        Proposed {
            policies: policies.map(|policy| (**policy).clone()).collect(),
            namespaces: namespaces.map(|namespace| (**namespace).clone()).collect(),
            ..Proposed::default()
        }
    }

    /// What was to be applied to the world before for this to come of it; `None`: it was no matter of applying.
    fn proposed(&self, before: &World, after: States) -> Option<Proposed> {
        let is_there = |key: &PolicyKey| after.policies.iter().any(|policy| policy.key == *key);
        let deleted = self.policies.iter().filter(|key| !is_there(key));
        let deleted = deleted.filter(|key| before.policies().contains_key(*key)).cloned().collect();
        // A namespace that goes takes its pods along.
        (after.namespaces.len() == self.namespaces.len()).then_some(Proposed { deleted, ..after })
    }
}
