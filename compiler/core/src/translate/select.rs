//! Who matches whom, by index: objects by label for a new selector, selectors by requirement for a new object.

use std::collections::HashMap;
use std::sync::Arc;

use fnv::FnvBuildHasher;

use crate::idset::IdSet;
use crate::label::{Labels, Operator, Selector};
use crate::object::Direction;

/// Numbers of objects by label.
#[derive(Debug, Default)]
pub(super) struct LabelIndex(HashMap<Arc<str>, HashMap<Arc<str>, IdSet>>);

/// Objects among which all are that a selector matches.
pub(super) struct Candidates<'a>(Vec<&'a IdSet>);

impl Candidates<'_> {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|ids| ids.len()).sum()
    }

    /// Each once: an object has one value for a key.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|ids| ids.iter())
    }
}

impl LabelIndex {
    pub(super) fn insert(&mut self, id: u32, labels: &Labels) {
        for (key, value) in labels.pairs() {
            if let Some(ids) = self.0.get_mut(key).and_then(|values| values.get_mut(value)) {
                ids.insert(id);
                continue;
            }
            let values = self.0.entry(Arc::clone(key)).or_default();
            values.entry(Arc::clone(value)).or_default().insert(id);
        }
    }

    pub(super) fn remove(&mut self, id: u32, labels: &Labels) {
        for (key, value) in labels.pairs() {
            let Some(values) = self.0.get_mut(key) else { continue };
            let Some(ids) = values.get_mut(value) else { continue };
            ids.remove(id);
            if ids.is_empty() {
                values.remove(value);
                if values.is_empty() {
                    self.0.remove(key);
                }
            }
        }
    }

    /// The fewest candidates that one requirement leaves; `None` if no requirement asks for a value.
    pub(super) fn candidates(&self, selector: &Selector) -> Option<Candidates<'_>> {
        let of = |requirement: &crate::label::Requirement| match &requirement.operator {
            Operator::In(wanted) => {
                let values = self.0.get(&requirement.key);
                let found = values.into_iter().flat_map(|values| wanted.iter().filter_map(|v| values.get(v)));
                Some(Candidates(found.collect()))
            }
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
        };
        selector.requirements().filter_map(of).min_by_key(Candidates::len)
    }
}

/// Where a selector applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// To namespaces.
    Namespaces,
    /// To the pods of a namespace, as the subjects of policies.
    Subjects(u32, Direction),
    /// To the pods of a namespace, as peers.
    PeersOf(u32),
    /// To the pods of all namespaces that a namespace selector matches, as peers.
    PeersIn(u32),
}

/// A condition that every object meets which a selector matches.
type Pivot = u64;

/// Every object meets it.
const ANY: Pivot = 0;

/// Conditions that some selector uses as its pivot, for one key.
#[derive(Debug, Default)]
struct KeyPivots {
    /// The key is there.
    exists: Option<(Pivot, u32)>,
    /// The key has this value.
    values: HashMap<Arc<str>, (Pivot, u32)>,
}

/// Selectors by a condition that whatever they match must meet.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex {
    keys: HashMap<Arc<str>, KeyPivots>,
    newest: Pivot,
    items: HashMap<(Scope, Pivot), Vec<(Selector, u32)>, FnvBuildHasher>,
}

/// The conditions that an object meets, of those that matter.
pub(super) struct Pivots(Vec<Pivot>);

impl SelectorIndex {
    /// Adds a selector under a number.
    pub(super) fn insert(&mut self, scope: Scope, selector: &Selector, id: u32) {
        for pivot in self.pivots_to_be(selector, true) {
            let items = self.items.entry((scope, pivot)).or_insert_with(|| Vec::with_capacity(1));
            items.push((selector.clone(), id));
        }
    }

    /// Removes a selector that was added under this number.
    pub(super) fn remove(&mut self, scope: Scope, selector: &Selector, id: u32) {
        for pivot in self.pivots_to_be(selector, false) {
            if let Some(items) = self.items.get_mut(&(scope, pivot)) {
                if let Some(place) = items.iter().position(|(_, item)| *item == id) {
                    items.swap_remove(place);
                }
                if items.is_empty() {
                    self.items.remove(&(scope, pivot));
                }
            }
        }
        self.forget(selector);
    }

    /// The number of an equal selector.
    pub(super) fn find(&self, scope: Scope, selector: &Selector) -> Option<u32> {
        let pivot = match requirement_of(selector) {
            None => ANY,
            Some((key, None)) => self.keys.get(key)?.exists?.0,
            Some((key, Some(values))) => self.keys.get(key)?.values.get(values.first()?)?.0,
        };
        let items = self.items.get(&(scope, pivot))?;
        items.iter().find(|(other, _)| other == selector).map(|(_, id)| *id)
    }

    /// The pivots under which a selector stands: the values of its first `In`, else its first key, else none.
    fn pivots_to_be(&mut self, selector: &Selector, using: bool) -> Vec<Pivot> {
        let newest = &mut self.newest;
        let mut pivot = |slot: &mut (Pivot, u32)| {
            if slot.0 == ANY {
                *newest += 1;
                slot.0 = *newest;
            }
            slot.1 += u32::from(using);
            slot.0
        };
        match requirement_of(selector) {
            Some((key, Some(values))) => {
                let pivots = self.keys.entry(Arc::clone(key)).or_default();
                let slots = values.iter().map(|v| pivot(pivots.values.entry(Arc::clone(v)).or_default()));
                slots.collect()
            }
            Some((key, None)) => {
                let pivots = self.keys.entry(Arc::clone(key)).or_default();
                vec![pivot(pivots.exists.get_or_insert_default())]
            }
            None => vec![ANY],
        }
    }

    /// One selector fewer uses its pivots.
    fn forget(&mut self, selector: &Selector) {
        let Some((key, values)) = requirement_of(selector) else { return };
        let Some(pivots) = self.keys.get_mut(key) else { return };
        match values {
            Some(values) => {
                for value in values {
                    if let Some((_, users)) = pivots.values.get_mut(value) {
                        *users -= 1;
                        if *users == 0 {
                            pivots.values.remove(value);
                        }
                    }
                }
            }
            None => {
                pivots.exists.take_if(|(_, users)| {
                    *users -= 1;
                    *users == 0
                });
            }
        }
        if pivots.values.is_empty() && pivots.exists.is_none() {
            self.keys.remove(key);
        }
    }

    /// The conditions that labels meet.
    pub(super) fn pivots(&self, labels: &Labels) -> Pivots {
        let mut met = vec![ANY];
        for (key, value) in labels.pairs() {
            if let Some(pivots) = self.keys.get(key) {
                met.extend(pivots.exists.map(|(pivot, _)| pivot));
                met.extend(pivots.values.get(value).map(|(pivot, _)| *pivot));
            }
        }
        Pivots(met)
    }

    /// The numbers of the selectors of a scope that match, each once.
    pub(super) fn matching<'a>(
        &'a self,
        scope: Scope,
        pivots: &'a Pivots,
        labels: &'a Labels,
    ) -> impl Iterator<Item = u32> + 'a {
        let items = pivots.0.iter().filter_map(move |pivot| self.items.get(&(scope, *pivot))).flatten();
        items.filter(|(selector, _)| selector.matches(labels)).map(|(_, id)| *id)
    }
}

/// A key, and the values that are asked for; `None`: any.
type Condition<'a> = (&'a Arc<str>, Option<&'a [Arc<str>]>);

/// The requirement whose conditions a selector is filed under.
fn requirement_of(selector: &Selector) -> Option<Condition<'_>> {
    let of_value = selector.requirements().find_map(|requirement| match &requirement.operator {
        Operator::In(values) => Some((&requirement.key, Some(&**values))),
        _ => None,
    });
    of_value.or_else(|| {
        selector.requirements().find_map(|requirement| match &requirement.operator {
            Operator::Exists => Some((&requirement.key, None)),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::label::Requirement;

    fn text() -> impl Strategy<Value = Arc<str>> {
        prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(Arc::from)
    }

    fn labels() -> impl Strategy<Value = Labels> {
        proptest::collection::vec((text(), text()), 0..3).prop_map(|pairs| pairs.into_iter().collect())
    }

    fn selector() -> impl Strategy<Value = Selector> {
        let values = || proptest::collection::vec(text(), 1..3).prop_map(|all| all.into_iter().collect());
        let operator = prop_oneof![
            values().prop_map(Operator::In),
            values().prop_map(Operator::NotIn),
            Just(Operator::Exists),
            Just(Operator::DoesNotExist),
        ];
        let requirement = (text(), operator).prop_map(|(key, operator)| Requirement { key, operator });
        proptest::collection::vec(requirement, 0..3).prop_map(|all| all.into_iter().collect())
    }

    proptest! {
        #[test]
        fn indexes_find_what_matching_all_with_all_finds(
            objects in proptest::collection::vec(labels(), 0..8),
            selectors in proptest::collection::vec((selector(), any::<bool>()), 0..8),
        ) {
            let (mut by_label, mut by_selector) = (LabelIndex::default(), SelectorIndex::default());
            (0..).zip(&objects).for_each(|(id, labels)| by_label.insert(id, labels));
            (0..).zip(&selectors).for_each(|(id, (s, _))| by_selector.insert(Scope::Namespaces, s, id));
            for (id, (selector, _)) in (0..).zip(&selectors).filter(|(_, (_, gone))| *gone) {
                by_selector.remove(Scope::Namespaces, selector, id);
            }
            for labels in &objects {
                let pivots = by_selector.pivots(labels);
                let mut found: Vec<u32> = by_selector.matching(Scope::Namespaces, &pivots, labels).collect();
                found.sort_unstable();
                let expected = (0..).zip(&selectors).filter(|(_, (s, gone))| !gone && s.matches(labels));
                prop_assert_eq!(found, expected.map(|(id, _)| id).collect::<Vec<u32>>());
            }
            for (selector, _) in &selectors {
                if let Some(candidates) = by_label.candidates(selector) {
                    let found: BTreeSet<u32> = candidates.iter().collect();
                    prop_assert_eq!(found.len(), candidates.len());
                    let mut expected = (0..).zip(&objects).filter(|(_, labels)| selector.matches(labels));
                    prop_assert!(expected.all(|(id, _)| found.contains(&id)));
                }
            }
            (0..).zip(&objects).for_each(|(id, labels)| by_label.remove(id, labels));
            prop_assert!(by_label.0.is_empty());
            for (id, (selector, _)) in (0..).zip(&selectors).filter(|(_, (_, gone))| !*gone) {
                by_selector.remove(Scope::Namespaces, selector, id);
            }
            prop_assert!(by_selector.keys.is_empty() && by_selector.items.is_empty());
        }
    }
}
