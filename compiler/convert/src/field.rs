//! A cursor into an object's JSON that knows its path, and the faults found on the way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

use flock_compiler_core::Labels;
use flock_compiler_core::object::Fault;
use serde_json::{Map, Value};

/// Characters of an input's own text that a message repeats.
const EXCERPT: usize = 60;

/// So many faults of one object are kept: in a megabyte there is room for a hundred thousand.
const KEPT: usize = 100;

/// Faults of one object, in the order they were found.
pub(super) struct Faults {
    origin: Arc<str>,
    found: Vec<Fault>,
    /// How many more there were than are kept.
    more: usize,
}

impl Faults {
    pub(super) fn new(origin: &Arc<str>) -> Self {
        Self { origin: Arc::clone(origin), found: Vec::new(), more: 0 }
    }

    /// Something is wrong with the value at `field`.
    pub(super) fn at(&mut self, field: &Field<'_>, message: impl Into<String>) {
        self.push(field.path(), message.into());
    }

    /// The value at `field` is not what the API says.
    fn mismatch(&mut self, field: &Field<'_>, expected: &str) {
        self.at(field, format!("found {}; expected {expected}", describe(field.value)));
    }

    /// `parent` lacks the required field `key`.
    pub(super) fn missing(&mut self, parent: &Field<'_>, key: &str, expected: &str) {
        let absent = Field { value: &Value::Null, parent: Some(parent), step: Step::Key(key) };
        self.push(absent.path(), format!("is missing; expected {expected}"));
    }

    fn push(&mut self, field: String, message: String) {
        // Counted all the same: `count` tells callers whether a part has added faults, also beyond those that are
        // kept.
        if self.found.len() >= KEPT {
            self.more += 1;
            return;
        }
        self.found.push(Fault { origin: Arc::clone(&self.origin), field, message });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many were found so far: by it one can tell if a part of the object added some.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.more
    }

    /// The faults that are kept, and how many more there are.
    pub(super) fn into_vec(mut self) -> Vec<Fault> {
        if self.more > 0
            && let Some(last) = self.found.last()
        {
            let field = last.field.clone();
            let message = format!("is followed by {} more faults, which are not listed", self.more);
            self.found.push(Fault { origin: self.origin, field, message });
        }
        self.found
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

/// A value inside an object, and the way to it. Paths are only spelled out for messages.
pub(super) struct Field<'a> {
    value: &'a Value,
    parent: Option<&'a Field<'a>>,
    step: Step<'a>,
}

impl<'a> Field<'a> {
    /// The object itself.
    pub(super) const fn root(value: &'a Value) -> Self {
        Self { value, parent: None, step: Step::Root }
    }

    /// The field `key`; null counts as absent, as in the API. Nothing if this is no object.
    pub(super) fn get(&'a self, key: &'a str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { value, parent: Some(self), step: Step::Key(key) })
    }

    /// The path, such as `spec.ingress[0].from[1].ipBlock.cidr`; keys that would be unclear are quoted.
    pub(super) fn path(&self) -> String {
        let mut path = self.parent.map(Field::path).unwrap_or_default();
        // A dot, as keys of labels have it, would read as one more step of the path.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // Writing into a string cannot fail.
        let _ = match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(path, "[{index}]"),
            Step::Key(key) if key.is_empty() || key.len() > EXCERPT || !key.bytes().all(plain) => {
                write!(path, "[{}]", quoted(key))
            }
            Step::Key(key) if path.is_empty() => write!(path, "{key}"),
            Step::Key(key) => write!(path, ".{key}"),
        };
        path
    }

    /// Returns true if the value is an object; notes a fault if not.
    pub(super) fn object(&self, faults: &mut Faults) -> Option<&'a Map<String, Value>> {
        let map = self.value.as_object();
        if map.is_none() {
            faults.mismatch(self, "an object");
        }
        map
    }

    /// Requires an object that has no other fields than `known`: what is not understood may restrict.
    pub(super) fn only(&self, known: &[&str], faults: &mut Faults) {
        let Some(map) = self.object(faults) else { return };
        for (key, value) in map {
            // A null is a field that is absent, whatever its name: it restricts nothing.
            if !value.is_null() && !known.contains(&key.as_str()) {
                let unknown = Field { value, parent: Some(self), step: Step::Key(key) };
                faults.at(&unknown, format!("is not a known field; expected one of {}", known.join(", ")));
            }
        }
    }

    /// The items of a list; a fault and no items if it is none.
    pub(super) fn items(&'a self, faults: &mut Faults) -> impl ExactSizeIterator<Item = Field<'a>> + use<'a> {
        let items = self.value.as_array();
        if items.is_none() {
            faults.mismatch(self, "a list");
        }
        items.map(Vec::as_slice).unwrap_or_default().iter().enumerate().map(move |(index, value)| Field {
            value,
            parent: Some(self),
            step: Step::Index(index),
        })
    }

    /// A string.
    pub(super) fn text(&self, faults: &mut Faults) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            faults.mismatch(self, "a string");
        }
        text
    }

    /// The values of a list; none if it is no list: for what is no fault where it is something else.
    pub(super) fn as_items(&self) -> &'a [Value] {
        self.value.as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The string, if it is one: for what is no fault where it is another.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// A boolean.
    pub(super) fn flag(&self, faults: &mut Faults) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            faults.mismatch(self, "true or false");
        }
        flag
    }

    /// A port number, 1 to 65535.
    pub(super) fn port(&self, faults: &mut Faults) -> Option<u16> {
        const PORTS: RangeInclusive<u64> = 1..=65535;
        let number = self.value.as_u64().filter(|number| PORTS.contains(number));
        if number.is_none() {
            faults.mismatch(self, "a port number from 1 to 65535");
        }
        number.and_then(|number| u16::try_from(number).ok())
    }

    /// Returns true if the value is a list without items.
    pub(super) fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(Vec::is_empty)
    }

    /// Returns true if the value is 0 or an empty string: how a number or name that is not set may be written.
    pub(super) fn is_zero_or_empty(&self) -> bool {
        self.value.as_u64() == Some(0) || self.as_text() == Some("")
    }

    /// Returns true if the value is a string.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    /// A string that `parse` accepts; otherwise a fault with its error.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &self,
        faults: &mut Faults,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(self.text(faults)?);
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                faults.at(self, error.to_string());
                None
            }
        }
    }

    /// A map of strings to strings; a fault for every value that is no string.
    pub(super) fn pairs(&self, faults: &mut Faults) -> BTreeMap<&'a str, &'a str> {
        let mut pairs = BTreeMap::new();
        for (key, value) in self.object(faults).into_iter().flatten() {
            let field = Field { value, parent: Some(self), step: Step::Key(key) };
            match value.as_str() {
                Some(text) => {
                    pairs.insert(key.as_str(), text);
                }
                // YAML makes a number or a boolean of a label's value such as `1` or `true` that is not quoted.
                None => faults.mismatch(&field, "a string (quote it)"),
            }
        }
        pairs
    }

    /// A map of strings to strings, as labels.
    pub(super) fn labels(&self, faults: &mut Faults) -> Labels {
        self.pairs(faults).into_iter().collect()
    }
}

/// What a value is, short enough for a message and escaped, since its text is not ours.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// `text` escaped, between quotes and shortened.
pub(super) fn quoted(text: &str) -> String {
    let mut excerpt: String = text.chars().take(EXCERPT).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    format!("{excerpt:?}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_read_like_the_manifest() {
        let value = json!({"spec": {"ingress": [{"from": 1}]}, "metadata": {"labels": {"a.b/c\n": 1}}});
        let mut faults = Faults::new(&"f.yaml".into());
        let root = Field::root(&value);
        let spec = root.get("spec").unwrap();
        let ingress = spec.get("ingress").unwrap();
        for rule in ingress.items(&mut faults) {
            rule.get("from").unwrap().text(&mut faults);
            faults.missing(&rule, "to", "a list");
        }
        root.get("metadata").unwrap().get("labels").unwrap().labels(&mut faults);
        let messages: Vec<String> = faults.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "f.yaml: spec.ingress[0].from: found 1; expected a string",
                "f.yaml: spec.ingress[0].to: is missing; expected a list",
                "f.yaml: metadata.labels[\"a.b/c\\n\"]: found 1; expected a string (quote it)",
            ]
        );
    }

    #[test]
    fn null_counts_as_absent() {
        let value = json!({"a": null});
        assert!(Field::root(&value).get("a").is_none());
        let mut faults = Faults::new(&"f".into());
        Field::root(&value).only(&["b"], &mut faults);
        assert!(faults.is_empty());
    }

    #[test]
    fn long_and_strange_text_is_shortened_and_escaped() {
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        assert!(quoted(&"ä".repeat(1000)).chars().count() < 70);
    }

    #[test]
    fn faults_of_one_object_are_bounded() {
        let values = Value::from(vec![Value::Null; 10_000]);
        let mut faults = Faults::new(&"f".into());
        let root = Field::root(&values);
        let items: Vec<Field<'_>> = root.items(&mut faults).collect();
        items.iter().for_each(|item| faults.mismatch(item, "a string"));
        assert_eq!(faults.count(), 10_000);
        let kept = faults.into_vec();
        assert_eq!(kept.len(), KEPT + 1);
        assert_eq!(kept[KEPT].message, "is followed by 9900 more faults, which are not listed");
    }
}
