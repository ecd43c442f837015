//! The labels that are there, in words, and the nearest of them to those that a selector asks for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use flock_compiler_core::{Labels, Operator, Requirement, Selector};
use flock_shared::NamespaceName;

use super::ground::Ground;
use super::nearest::nearest;

/// So many keys of the labels of a namespace's pods are known here, and so many values of each.
const WORDS: usize = 200;
/// So many values of each key of namespaces' labels: one of them is the name.
const NAMESPACE_WORDS: usize = 20_000;
/// So many pods of a namespace are looked at.
const PODS: usize = 2_000;
/// So many of what is there are shown.
const SHOWN: usize = 5;
/// So many namespaces are searched for what may have been meant.
const NAMESPACES: usize = 20;
/// So many words of all findings are compared: about a second.
const COMPARISONS: usize = 1_000_000;
/// Longer texts are cut.
const LONGEST: usize = 80;

/// Text that somebody chose, as it may stand in a line: as it is if it is what labels and names are made of, else quoted, with
/// everything escaped that is not printed.
pub(super) fn plain(text: &str) -> String {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(is_usual) {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" })
}

/// A selector as it may stand in a line.
pub(super) fn selector_words(selector: &Selector) -> String {
    if selector.is_everything() {
        return "any labels".to_owned();
    }
    let all: Vec<String> = selector.requirements().take(SHOWN).map(requirement_words).collect();
    let more = selector.requirements().len().saturating_sub(SHOWN);
    format!("{}{}", all.join(","), if more > 0 { format!(" and {more} more") } else { String::new() })
}

fn requirement_words(requirement: &Requirement) -> String {
    let key = plain(&requirement.key);
    let list = |values: &[Arc<str>]| shown(values.iter().map(|value| &**value), "");
    match &requirement.operator {
        Operator::In(values) if values.len() == 1 => format!("{key}={}", list(values)),
        Operator::In(values) => format!("{key} in ({})", list(values)),
        Operator::NotIn(values) => format!("{key} notin ({})", list(values)),
        Operator::Exists => key,
        Operator::DoesNotExist => format!("!{key}"),
    }
}

/// Some of these, and how many more there are.
pub(super) fn shown<'a>(all: impl Iterator<Item = &'a str>, before: &str) -> String {
    let mut all = all;
    let some: Vec<String> = all.by_ref().take(SHOWN).map(|one| format!("{before}{}", plain(one))).collect();
    match all.count() {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

/// Keys and values of labels.
#[derive(Debug, Default)]
pub(super) struct LabelValues(BTreeMap<Arc<str>, BTreeSet<Arc<str>>>);

impl LabelValues {
    fn add(&mut self, labels: &Labels, limit: usize) {
        for (key, value) in labels.iter() {
            // Not by `entry`, which would make a key for each label of each pod.
            if !self.0.contains_key(key) {
                if self.0.len() >= WORDS {
                    continue;
                }
                self.0.insert(key.into(), BTreeSet::new());
            }
            let Some(values) = self.0.get_mut(key) else { continue };
            if values.len() < limit && !values.contains(value) {
                values.insert(value.into());
            }
        }
    }

    /// Whether an object could have labels like these as far as one requirement is concerned.
    fn has(&self, requirement: &Requirement) -> bool {
        let values = self.0.get(&requirement.key);
        match &requirement.operator {
            Operator::In(wanted) => values.is_some_and(|there| wanted.iter().any(|one| there.contains(one))),
            Operator::Exists => values.is_some(),
            Operator::NotIn(_) | Operator::DoesNotExist => true,
        }
    }
}

/// Why a selector selects nothing, and what may have been meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// What is there, such as "app is api, web there"; empty if there is nothing to say.
    pub found: String,
    /// Such as "app=api"; empty if nothing is near.
    pub suggestion: String,
}

/// Finds words.
#[derive(Debug, Default)]
pub(super) struct Words {
    pods: RefCell<HashMap<NamespaceName, Rc<LabelValues>>>,
    namespaces: RefCell<Option<Rc<LabelValues>>>,
    compared: Cell<usize>,
}

impl Words {
    /// The labels of the pods of a namespace.
    fn of_pods(&self, ground: &Ground<'_>, namespace: &NamespaceName) -> Rc<LabelValues> {
        if let Some(known) = self.pods.borrow().get(namespace) {
            return Rc::clone(known);
        }
        let mut words = LabelValues::default();
        for pod in ground.cluster.world.pods_of(namespace).take(PODS) {
            words.add(&pod.labels, WORDS);
        }
        let words = Rc::new(words);
        self.pods.borrow_mut().insert(namespace.clone(), Rc::clone(&words));
        words
    }

    /// What to say of a selector that selects none of the pods of these namespaces that the asker may see.
    pub(super) fn pods(
        &self,
        ground: &Ground<'_>,
        namespaces: &[NamespaceName],
        selector: &Selector,
    ) -> Hint {
        let seen = namespaces.iter().filter(|name| ground.sight.sees(name)).take(NAMESPACES);
        let all: Vec<Rc<LabelValues>> = seen.map(|name| self.of_pods(ground, name)).collect();
        self.hint(&all, selector)
    }

    /// What to say of a selector that selects no namespace.
    pub(super) fn namespaces(&self, ground: &Ground<'_>, selector: &Selector) -> Hint {
        // Cloned, so that the borrow ends before it is written below.
        let known = self.namespaces.borrow().clone();
        let words = known.unwrap_or_else(|| {
            let mut words = LabelValues::default();
            for namespace in ground.cluster.world.namespaces().values() {
                if ground.sight.sees(&namespace.name) {
                    words.add(&namespace.labels, NAMESPACE_WORDS);
                }
            }
            Rc::new(words)
        });
        *self.namespaces.borrow_mut() = Some(Rc::clone(&words));
        self.hint(&[words], selector)
    }

    fn hint(&self, all: &[Rc<LabelValues>], selector: &Selector) -> Hint {
        let none = |requirement: &&Requirement| !all.iter().any(|words| words.has(requirement));
        match selector.requirements().find(none) {
            Some(missing) => self.hint_of(all, missing),
            None if all.iter().all(|words| words.0.is_empty()) => {
                Hint { found: String::new(), suggestion: String::new() }
            }
            None => Hint { found: "none has all of them at once".to_owned(), suggestion: String::new() },
        }
    }

    /// What to say of a requirement that no label satisfies.
    fn hint_of(&self, all: &[Rc<LabelValues>], missing: &Requirement) -> Hint {
        let values_of = |key: &str| {
            let mut values: Vec<&str> =
                all.iter().filter_map(|words| words.0.get(key)).flatten().map(|value| &**value).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let key = plain(&missing.key);
        let there = values_of(&missing.key);
        let wanted = match &missing.operator {
            Operator::In(wanted) => wanted.first().map_or("", |value| &**value),
            _ => "",
        };
        if !there.is_empty() {
            let near = self.nearest(wanted, &there);
            let found = format!("{key} is {} there", shown(there.iter().copied(), ""));
            let suggestion = near.map_or(String::new(), |value| format!("{key}={}", plain(value)));
            return Hint { found, suggestion };
        }
        let mut keys: Vec<&str> = all.iter().flat_map(|words| words.0.keys()).map(|key| &**key).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Hint { found: "nothing there has labels".to_owned(), suggestion: String::new() };
        }
        let found = format!("nothing there has a label {key}; there are {}", shown(keys.iter().copied(), ""));
        let suggestion = match self.nearest(&missing.key, &keys) {
            None => String::new(),
            Some(near) => {
                let values = values_of(near);
                let value = values.iter().find(|value| **value == wanted).copied();
                match value.or_else(|| self.nearest(wanted, &values)) {
                    Some(value) if !wanted.is_empty() => format!("{}={}", plain(near), plain(value)),
                    _ => plain(near),
                }
            }
        };
        Hint { found, suggestion }
    }

    /// The nearest of some words, as long as words may be compared.
    pub(super) fn nearest<'a>(&self, word: &str, there: &[&'a str]) -> Option<&'a str> {
        let compared = self.compared.get() + there.len();
        if compared > COMPARISONS {
            return None;
        }
        self.compared.set(compared);
        nearest(word, there.iter().copied())
    }
}
