//! Labels and label selectors (`metav1.LabelSelector`), with the API's matching rules.

use std::fmt;
use std::sync::Arc;

use crate::collections::sorted::Sorted;

/// The labels of an object: pairs ordered by key, each key once.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Box<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The value of `key`, if the label is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(candidate, _)| (**candidate).cmp(key)).ok()?;
        self.0.get(index).map(|(_, value)| &**value)
    }

    /// All pairs in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// All pairs in order of their keys, to be shared.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    /// Of several pairs with one key the last wins, as in a JSON object.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let ordered: std::collections::BTreeMap<Arc<str>, Arc<str>> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(ordered.into_iter().collect())
    }
}

/// One condition of a selector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// What its value must satisfy.
    pub operator: Operator,
}

/// The operators of `matchExpressions`; `matchLabels` is `In` with one value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there and its value is one of these.
    In(Sorted<Arc<str>>),
    /// The label is missing, or its value is none of these.
    NotIn(Sorted<Arc<str>>),
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

impl Requirement {
    /// Returns true if `labels` satisfy this requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.holds(labels.get(&self.key))
    }

    /// Returns true if an object with this value for the key satisfies it; `None`: it has none.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| contains(values, value)),
            Operator::NotIn(values) => value.is_none_or(|value| !contains(values, value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

fn contains(values: &Sorted<Arc<str>>, value: &str) -> bool {
    values.binary_search_by(|candidate| (**candidate).cmp(value)).is_ok()
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &Sorted<Arc<str>>| values.iter().map(|v| &**v).collect::<Vec<_>>().join(",");
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{}={}", self.key, list(values)),
            Operator::In(values) => write!(f, "{} in ({})", self.key, list(values)),
            Operator::NotIn(values) => write!(f, "{} notin ({})", self.key, list(values)),
            Operator::Exists => write!(f, "{}", self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
        }
    }
}

/// A label selector: the requirements that must all hold. Canonical (ordered, each once), so that selectors that
/// were written differently but mean the same conditions are equal. Empty selects everything. Cloning shares.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Arc<[Requirement]>);

impl Selector {
    /// The selector that matches every object.
    #[must_use]
    pub fn everything() -> Self {
        Self(Arc::default())
    }

    /// Returns true if every object matches.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if `labels` satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// The requirements in canonical order.
    pub fn requirements(&self) -> impl ExactSizeIterator<Item = &Requirement> {
        self.0.iter()
    }
}

impl FromIterator<Requirement> for Selector {
    fn from_iter<I: IntoIterator<Item = Requirement>>(requirements: I) -> Self {
        let mut requirements: Vec<Requirement> = requirements.into_iter().collect();
        requirements.sort_unstable();
        requirements.dedup();
        Self(requirements.into())
    }
}

impl fmt::Display for Selector {
    /// As `kubectl --selector` writes it; `*` for the selector that matches everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("*");
        }
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    fn requirement(key: &str, operator: Operator) -> Requirement {
        Requirement { key: key.into(), operator }
    }

    fn values(values: &[&str]) -> Sorted<Arc<str>> {
        values.iter().map(|value| Arc::from(*value)).collect()
    }

    #[test]
    fn a_missing_key_satisfies_not_in_and_does_not_exist_only() {
        let none = Labels::default();
        assert!(!requirement("a", Operator::In(values(&["1"]))).matches(&none));
        assert!(requirement("a", Operator::NotIn(values(&["1"]))).matches(&none));
        assert!(!requirement("a", Operator::Exists).matches(&none));
        assert!(requirement("a", Operator::DoesNotExist).matches(&none));
    }

    #[test]
    fn operators_look_at_the_value() {
        let one = labels(&[("a", "1"), ("b", "")]);
        assert!(requirement("a", Operator::In(values(&["0", "1"]))).matches(&one));
        assert!(!requirement("a", Operator::NotIn(values(&["1"]))).matches(&one));
        assert!(requirement("a", Operator::NotIn(values(&["2"]))).matches(&one));
        assert!(requirement("b", Operator::Exists).matches(&one));
        assert!(!requirement("b", Operator::DoesNotExist).matches(&one));
    }

    #[test]
    fn a_selector_is_the_conjunction_and_empty_selects_all() {
        let one = labels(&[("a", "1")]);
        assert!(Selector::everything().matches(&one));
        let both: Selector =
            [requirement("a", Operator::Exists), requirement("b", Operator::Exists)].into_iter().collect();
        assert!(!both.matches(&one));
        assert_eq!(both.to_string(), "a,b");
    }

    #[test]
    fn ten_thousand_labels_are_looked_up_by_key() {
        let many: Labels = (0..10_000).map(|i| (format!("key-{i}"), format!("{i}"))).collect();
        assert_eq!(many.get("key-7777"), Some("7777"));
        assert_eq!(many.get("key-10000"), None);
    }
}

/// Random labels, and selectors that match them often enough.
#[cfg(test)]
pub(crate) mod strategies {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Arc<str>> {
        prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(Arc::from)
    }

    /// Labels of three keys and three values.
    pub(crate) fn labels() -> impl Strategy<Value = Labels> {
        proptest::collection::vec((text(), text()), 0..3).prop_map(|pairs| pairs.into_iter().collect())
    }

    /// Selectors of up to two requirements on the same.
    pub(crate) fn selector() -> impl Strategy<Value = Selector> {
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
}
