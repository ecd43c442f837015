//! Who matches whom, by index: objects by label for a new selector, selectors by requirement for a new object.

use std::sync::Arc;

use std::collections::HashMap;

use crate::idset::IdSet;
use crate::label::{Labels, Operator, Selector};

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

/// More selectors than this are filed by what they ask for.
const FEW_SELECTORS: usize = 16;

/// A selector and its number.
type Item = (Selector, u32);

/// Selectors that apply to the same objects: which of them match one.
#[derive(Debug)]
pub(super) enum Selectors {
    /// To be tried one by one.
    Few(Vec<Item>),
    Many(Box<Filed>),
}

/// Selectors by a condition that whatever they match must meet.
#[derive(Debug, Default)]
pub(super) struct Filed {
    /// Every selector: whoever files a hundred thousand in one place must not have them compared one by one.
    numbers: HashMap<Selector, u32>,
    keys: HashMap<Arc<str>, ByValue>,
    /// Those without such a condition.
    others: Vec<Item>,
}

/// Selectors that ask for one key.
#[derive(Debug, Default)]
struct ByValue {
    /// Whatever its value.
    any: Vec<Item>,
    /// With this value.
    values: HashMap<Arc<str>, Vec<Item>>,
}

impl Default for Selectors {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Selectors {
    /// Adds a selector under a number. No equal one is there.
    pub(super) fn insert(&mut self, selector: &Selector, id: u32) {
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

    /// Removes a selector that was added under this number.
    pub(super) fn remove(&mut self, selector: &Selector, id: u32) {
        match self {
            Self::Few(items) => items.retain(|(_, item)| *item != id),
            Self::Many(filed) => {
                filed.remove(selector, id);
                if filed.numbers.len() <= FEW_SELECTORS / 2 {
                    *self = Self::Few(filed.items());
                }
            }
        }
    }

    /// The number of an equal selector.
    pub(super) fn find(&self, selector: &Selector) -> Option<u32> {
        match self {
            Self::Few(items) => items.iter().find(|(other, _)| other == selector).map(|(_, id)| *id),
            Self::Many(filed) => filed.numbers.get(selector).copied(),
        }
    }

    /// The numbers of the selectors that match, each once.
    pub(super) fn matching(&self, labels: &Labels) -> impl Iterator<Item = u32> {
        self.tried(labels).filter(|(selector, _)| selector.matches(labels)).map(|(_, id)| *id)
    }

    /// The selectors that have to be tried to find those that match, each once.
    pub(super) fn tried(&self, labels: &Labels) -> impl Iterator<Item = &(Selector, u32)> {
        let (few, many) = match self {
            Self::Few(items) => (items.as_slice(), None),
            Self::Many(filed) => (filed.others.as_slice(), Some(filed)),
        };
        few.iter().chain(many.into_iter().flat_map(|filed| filed.by_label(labels)))
    }

    /// Every selector with its number, in any order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Selector, u32)> {
        let (few, many) = match self {
            Self::Few(items) => (items.as_slice(), None),
            Self::Many(filed) => (&[][..], Some(&filed.numbers)),
        };
        let many = many.into_iter().flatten().map(|(selector, id)| (selector, *id));
        few.iter().map(|(selector, id)| (selector, *id)).chain(many)
    }

    pub(super) const fn is_empty(&self) -> bool {
        match self {
            Self::Few(items) => items.is_empty(),
            Self::Many(_) => false,
        }
    }
}

impl Filed {
    fn insert(&mut self, selector: &Selector, id: u32) {
        self.numbers.insert(selector.clone(), id);
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

    fn remove(&mut self, selector: &Selector, id: u32) {
        self.numbers.remove(selector);
        let without = |items: &mut Vec<Item>| {
            if let Some(place) = items.iter().position(|(_, item)| *item == id) {
                items.swap_remove(place);
            }
        };
        let Some((key, values)) = condition_of(selector) else { return without(&mut self.others) };
        let Some(by_value) = self.keys.get_mut(key) else { return };
        match values {
            None => without(&mut by_value.any),
            Some(values) => {
                for value in values {
                    if let Some(items) = by_value.values.get_mut(value) {
                        without(items);
                        if items.is_empty() {
                            by_value.values.remove(value);
                        }
                    }
                }
            }
        }
        if by_value.any.is_empty() && by_value.values.is_empty() {
            self.keys.remove(key);
        }
    }

    /// The selectors whose condition these labels meet, each once: an object has one value for a key.
    fn by_label(&self, labels: &Labels) -> impl Iterator<Item = &Item> {
        let met = labels.pairs().filter_map(|(key, value)| Some((self.keys.get(key)?, value)));
        met.flat_map(|(by_value, value)| {
            by_value.any.iter().chain(by_value.values.get(value).into_iter().flatten())
        })
    }

    /// Every selector, each once.
    fn items(&self) -> Vec<Item> {
        let mut all: Vec<Item> = self.numbers.iter().map(|(selector, id)| (selector.clone(), *id)).collect();
        all.sort_unstable_by_key(|(_, id)| *id);
        all
    }
}

/// A key, and the values that are asked for; `None`: any.
pub(super) type Condition<'a> = (&'a Arc<str>, Option<&'a [Arc<str>]>);

/// The condition that a selector is filed under: the values of its first `In`, else its first key, else none.
pub(super) fn condition_of(selector: &Selector) -> Option<Condition<'_>> {
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
            selectors in proptest::collection::btree_map(selector(), any::<bool>(), 0..40),
        ) {
            let selectors: Vec<(Selector, bool)> = selectors.into_iter().collect();
            let (mut by_label, mut by_selector) = (LabelIndex::default(), Selectors::default());
            (0..).zip(&objects).for_each(|(id, labels)| by_label.insert(id, labels));
            (0..).zip(&selectors).for_each(|(id, (selector, _))| by_selector.insert(selector, id));
            for (id, (selector, _)) in (0..).zip(&selectors).filter(|(_, (_, gone))| *gone) {
                by_selector.remove(selector, id);
            }
            for labels in &objects {
                let mut found: Vec<u32> = by_selector.matching(labels).collect();
                found.sort_unstable();
                let expected = (0..).zip(&selectors).filter(|(_, (s, gone))| !gone && s.matches(labels));
                prop_assert_eq!(found, expected.map(|(id, _)| id).collect::<Vec<u32>>());
            }
            for (selector, _) in &selectors {
                let known = by_selector.find(selector).and_then(|id| selectors.get(id as usize));
                let expected = selectors.iter().any(|(other, gone)| !gone && other == selector);
                prop_assert_eq!(known.is_some_and(|(other, gone)| !gone && other == selector), expected);
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
                by_selector.remove(selector, id);
            }
            prop_assert!(by_selector.is_empty());
        }
    }
}
