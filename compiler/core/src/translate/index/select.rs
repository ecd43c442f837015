//! Who matches whom, by index: objects by label for a new selector, selectors by requirement for a new object.

use std::sync::Arc;

use std::collections::HashMap;

use crate::collections::ids::Id;
use crate::collections::idset::IdSet;
use crate::invariant::bug;
use crate::label::{Labels, Operator, Selector};

/// Objects by label.
#[derive(Debug)]
pub(in crate::translate) struct LabelIndex<I: Id>(HashMap<Arc<str>, HashMap<Arc<str>, IdSet<I>>>);

impl<I: Id> Default for LabelIndex<I> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// Objects among which all are that a selector matches.
pub(in crate::translate) struct Candidates<'a, I>(Vec<&'a IdSet<I>>);

impl<I: Id> Candidates<'_, I> {
    pub(in crate::translate) fn len(&self) -> usize {
        self.0.iter().map(|ids| ids.len()).sum()
    }

    /// Each once: an object has one value for a key.
    pub(in crate::translate) fn iter(&self) -> impl Iterator<Item = I> {
        self.0.iter().flat_map(|ids| ids.iter())
    }
}

impl<I: Id> LabelIndex<I> {
    pub(in crate::translate) fn insert(&mut self, id: I, labels: &Labels) {
        for (key, value) in labels.pairs() {
            // Most labels are known already, and nothing is copied for them.
            if let Some(ids) = self.0.get_mut(key).and_then(|values| values.get_mut(value)) {
                ids.insert(id);
                continue;
            }
            let values = self.0.entry(Arc::clone(key)).or_default();
            values.entry(Arc::clone(value)).or_default().insert(id);
        }
    }

    pub(in crate::translate) fn remove(&mut self, id: I, labels: &Labels) {
        for (key, value) in labels.pairs() {
            let Some(values) = self.0.get_mut(key) else {
                bug!("no label has the key {key:?}, nor has {id:?}");
                continue;
            };
            let Some(ids) = values.get_mut(value) else {
                bug!("no label is {key:?} {value:?}, nor has {id:?} that");
                continue;
            };
            if !ids.remove(id) {
                bug!("{id:?} is not found by its label {key:?} {value:?}");
            }
            if ids.is_empty() {
                values.remove(value);
                if values.is_empty() {
                    self.0.remove(key);
                }
            }
        }
    }

    /// The fewest candidates that one requirement leaves; `None` if no requirement asks for a value.
    pub(in crate::translate) fn candidates(&self, selector: &Selector) -> Option<Candidates<'_, I>> {
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

/// More selectors than this are filed by what they ask for.
const FEW_SELECTORS: usize = 16;

/// A selector and its id.
type Item<I> = (Selector, I);

/// Selectors that apply to the same objects: which of them match one.
#[derive(Debug)]
pub(in crate::translate) enum Selectors<I> {
    /// To be tried one by one.
    Few(Vec<Item<I>>),
    Many(Box<Filed<I>>),
}

/// Selectors by a condition that whatever they match must meet.
#[derive(Debug)]
pub(in crate::translate) struct Filed<I> {
    /// Every selector: whoever files a hundred thousand in one place must not have them compared one by one.
    ids: HashMap<Selector, I>,
    keys: HashMap<Arc<str>, ByValue<I>>,
    /// Those without such a condition.
    others: Vec<Item<I>>,
}

impl<I> Default for Filed<I> {
    fn default() -> Self {
        Self { ids: HashMap::new(), keys: HashMap::new(), others: Vec::new() }
    }
}

/// Selectors that ask for one key.
#[derive(Debug)]
struct ByValue<I> {
    /// Whatever its value.
    any: Vec<Item<I>>,
    /// With this value.
    values: HashMap<Arc<str>, Vec<Item<I>>>,
}

impl<I> Default for ByValue<I> {
    fn default() -> Self {
        Self { any: Vec::new(), values: HashMap::new() }
    }
}

impl<I> Default for Selectors<I> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<I: Id> Selectors<I> {
    /// Adds a selector under an id. No equal one is there.
    pub(in crate::translate) fn insert(&mut self, selector: &Selector, id: I) {
        match self {
            Self::Few(items) if items.len() < FEW_SELECTORS => items.push((selector.clone(), id)),
            Self::Few(items) => {
                let mut filed = Filed::default();
                items.iter().for_each(|(selector, id)| filed.insert(selector, *id));
                filed.insert(selector, id);
                *self = Self::Many(Box::new(filed));
            }
            Self::Many(filed) => filed.insert(selector, id),
        }
    }

    /// Removes a selector that was added under this id.
    pub(in crate::translate) fn remove(&mut self, selector: &Selector, id: I) {
        match self {
            Self::Few(items) => {
                let before = items.len();
                items.retain(|(_, item)| *item != id);
                if items.len() == before {
                    bug!("{id:?} is not among few selectors");
                }
            }
            Self::Many(filed) => {
                filed.remove(selector, id);
                // At half of it, so that one selector that comes and goes does not have all of them filed again and
                // again.
                if filed.ids.len() <= FEW_SELECTORS / 2 {
                    *self = Self::Few(filed.items());
                }
            }
        }
    }

    /// The id of an equal selector.
    pub(in crate::translate) fn find(&self, selector: &Selector) -> Option<I> {
        match self {
            Self::Few(items) => items.iter().find(|(other, _)| other == selector).map(|(_, id)| *id),
            Self::Many(filed) => filed.ids.get(selector).copied(),
        }
    }

    /// The ids of the selectors that match, each once.
    pub(in crate::translate) fn matching(&self, labels: &Labels) -> impl Iterator<Item = I> {
        self.tried(labels).filter(|(selector, _)| selector.matches(labels)).map(|(_, id)| *id)
    }

    /// The selectors that have to be tried to find those that match, each once.
    pub(in crate::translate) fn tried(&self, labels: &Labels) -> impl Iterator<Item = &Item<I>> {
        let (few, many) = match self {
            Self::Few(items) => (items.as_slice(), None),
            Self::Many(filed) => (filed.others.as_slice(), Some(filed)),
        };
        few.iter().chain(many.into_iter().flat_map(|filed| filed.by_label(labels)))
    }

    /// Every selector with its id, in any order.
    pub(in crate::translate) fn iter(&self) -> impl Iterator<Item = (&Selector, I)> {
        let (few, many) = match self {
            Self::Few(items) => (items.as_slice(), None),
            Self::Many(filed) => (&[][..], Some(&filed.ids)),
        };
        let many = many.into_iter().flatten().map(|(selector, id)| (selector, *id));
        few.iter().map(|(selector, id)| (selector, *id)).chain(many)
    }

    pub(in crate::translate) const fn is_empty(&self) -> bool {
        match self {
            Self::Few(items) => items.is_empty(),
            // Before they are none they are few.
            Self::Many(_) => false,
        }
    }
}

impl<I: Id> Filed<I> {
    fn insert(&mut self, selector: &Selector, id: I) {
        self.ids.insert(selector.clone(), id);
        let item = || (selector.clone(), id);
        let Some((key, values)) = condition_of(selector) else {
            return self.others.push(item());
        };
        let by_value = self.keys.entry(Arc::clone(key)).or_default();
        match values {
            None => by_value.any.push(item()),
            Some(values) => {
                for value in values {
                    by_value.values.entry(Arc::clone(value)).or_default().push(item());
                }
            }
        }
    }

    fn remove(&mut self, selector: &Selector, id: I) {
        if self.ids.remove(selector) != Some(id) {
            bug!("{id:?} is not the id of its selector");
        }
        let without = |items: &mut Vec<Item<I>>| match items.iter().position(|(_, item)| *item == id) {
            Some(place) => _ = items.swap_remove(place),
            None => bug!("{id:?} is not filed under its condition"),
        };
        let Some((key, values)) = condition_of(selector) else { return without(&mut self.others) };
        let Some(by_value) = self.keys.get_mut(key) else {
            // One that asks for none of any values is filed nowhere.
            if values.is_none_or(|values| !values.is_empty()) {
                bug!("no selector asks for {key:?}, nor does {id:?}");
            }
            return;
        };
        match values {
            None => without(&mut by_value.any),
            Some(values) => {
                for value in values {
                    let Some(items) = by_value.values.get_mut(value) else {
                        bug!("no selector asks for {key:?} {value:?}, nor does {id:?}");
                        continue;
                    };
                    without(items);
                    if items.is_empty() {
                        by_value.values.remove(value);
                    }
                }
            }
        }
        if by_value.any.is_empty() && by_value.values.is_empty() {
            self.keys.remove(key);
        }
    }

    /// The selectors whose condition these labels meet, each once: an object has one value for a key.
    fn by_label(&self, labels: &Labels) -> impl Iterator<Item = &Item<I>> {
        let met = labels.pairs().filter_map(|(key, value)| Some((self.keys.get(key)?, value)));
        met.flat_map(|(by_value, value)| {
            by_value.any.iter().chain(by_value.values.get(value).into_iter().flatten())
        })
    }

    /// Every selector, each once.
    fn items(&self) -> Vec<Item<I>> {
        let mut all: Vec<Item<I>> = self.ids.iter().map(|(selector, id)| (selector.clone(), *id)).collect();
        // By id, for the order of a hash map must not show.
        all.sort_unstable_by_key(|(_, id)| *id);
        all
    }
}

/// A key, and the values that are asked for; `None`: any.
pub(in crate::translate) type Condition<'a> = (&'a Arc<str>, Option<&'a [Arc<str>]>);

/// The condition that a selector is filed under: the values of its first `In`, else its first key, else none.
pub(in crate::translate) fn condition_of(selector: &Selector) -> Option<Condition<'_>> {
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
    use crate::collections::ids::{PodId, SelectorId};
    use crate::label::strategies::{labels, selector};

    proptest! {
        #[test]
        fn indexes_find_what_matching_all_with_all_finds(
            objects in proptest::collection::vec(labels(), 0..8),
            selectors in proptest::collection::btree_map(selector(), any::<bool>(), 0..40),
        ) {
            let selectors: Vec<(Selector, bool)> = selectors.into_iter().collect();
            let (mut by_label, mut by_selector) = (LabelIndex::default(), Selectors::default());
            (0..).map(PodId::of).zip(&objects).for_each(|(id, labels)| by_label.insert(id, labels));
            let numbered = || (0..).map(SelectorId::of).zip(&selectors);
            numbered().for_each(|(id, (selector, _))| by_selector.insert(selector, id));
            for (id, (selector, _)) in numbered().filter(|(_, (_, gone))| *gone) {
                by_selector.remove(selector, id);
            }
            for labels in &objects {
                let mut found: Vec<SelectorId> = by_selector.matching(labels).collect();
                found.sort_unstable();
                let expected = numbered().filter(|(_, (s, gone))| !gone && s.matches(labels));
                prop_assert_eq!(found, expected.map(|(id, _)| id).collect::<Vec<SelectorId>>());
            }
            for (selector, _) in &selectors {
                let known = by_selector.find(selector).and_then(|id| selectors.get(id.number() as usize));
                let expected = selectors.iter().any(|(other, gone)| !gone && other == selector);
                prop_assert_eq!(known.is_some_and(|(other, gone)| !gone && other == selector), expected);
                if let Some(candidates) = by_label.candidates(selector) {
                    let found: BTreeSet<PodId> = candidates.iter().collect();
                    prop_assert_eq!(found.len(), candidates.len());
                    let mut expected = (0..).map(PodId::of).zip(&objects).filter(|(_, labels)| selector.matches(labels));
                    prop_assert!(expected.all(|(id, _)| found.contains(&id)));
                }
            }
            (0..).map(PodId::of).zip(&objects).for_each(|(id, labels)| by_label.remove(id, labels));
            prop_assert!(by_label.0.is_empty());
            for (id, (selector, _)) in numbered().filter(|(_, (_, gone))| !*gone) {
                by_selector.remove(selector, id);
            }
            prop_assert!(by_selector.is_empty());
        }
    }
}
