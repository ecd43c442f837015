//! `metav1.LabelSelector`. Keys and values must be what labels can be, as the API server has it: what no object can
//! carry was not meant.

use std::sync::Arc;

use flock_compiler_core::{Operator, Requirement, Selector};

use super::field::{Faults, Field, quoted};
use super::label;

/// A selector; `None` with faults if some part of it is not understood.
pub(super) fn selector(field: &Field<'_>, faults: &mut Faults) -> Option<Selector> {
    let before = faults.count();
    field.only(&["matchLabels", "matchExpressions"], faults);
    let mut requirements = Vec::new();
    if let Some(labels) = field.get("matchLabels") {
        requirements.extend(equalities(&labels, faults));
    }
    if let Some(expressions) = field.get("matchExpressions") {
        for expression in expressions.items(faults) {
            requirements.extend(requirement(&expression, faults));
        }
    }
    // All or nothing: without one of its requirements a selector would match more.
    (faults.count() == before).then(|| requirements.into_iter().collect())
}

/// The entries of `matchLabels`.
pub(super) fn equalities(labels: &Field<'_>, faults: &mut Faults) -> Vec<Requirement> {
    let keys = labels.pairs(faults).into_keys();
    keys.filter_map(|key| equality(key, &labels.get(key)?, faults)).collect()
}

/// An entry of `matchLabels`.
fn equality(key: &str, field: &Field<'_>, faults: &mut Faults) -> Option<Requirement> {
    let key = label::key(key).map_err(|error| faults.at(field, error.to_string())).ok();
    let value = field.parsed(faults, label::value);
    Some(Requirement { key: key?, operator: Operator::In([value?].into()) })
}

/// An item of `matchExpressions`.
fn requirement(field: &Field<'_>, faults: &mut Faults) -> Option<Requirement> {
    field.only(&["key", "operator", "values"], faults);
    let key = match field.get("key") {
        Some(key) => key.parsed(faults, label::key),
        None => {
            faults.missing(field, "key", "a label's key");
            None
        }
    };
    let operator = operator(field, faults);
    Some(Requirement { key: key?, operator: operator? })
}

fn operator(field: &Field<'_>, faults: &mut Faults) -> Option<Operator> {
    const EXPECTED: &str = "In, NotIn, Exists or DoesNotExist";
    let mut values: Vec<Arc<str>> = Vec::new();
    let listed = field.get("values");
    if let Some(listed) = &listed {
        for value in listed.items(faults) {
            values.extend(value.parsed(faults, label::value));
        }
    }
    let Some(operator) = field.get("operator") else {
        faults.missing(field, "operator", EXPECTED);
        return None;
    };
    match (operator.text(faults)?, listed) {
        ("In" | "NotIn", Some(listed)) if listed.is_empty_list() => {
            faults.at(&listed, "is empty; In and NotIn need at least one value");
            None
        }
        ("In" | "NotIn", None) => {
            faults.missing(field, "values", "at least one value for In and NotIn");
            None
        }
        ("In", Some(_)) => Some(Operator::In(values.into_iter().collect())),
        ("NotIn", Some(_)) => Some(Operator::NotIn(values.into_iter().collect())),
        ("Exists" | "DoesNotExist", Some(listed)) if !listed.is_empty_list() => {
            faults.at(&listed, "Exists and DoesNotExist take no values");
            None
        }
        ("Exists", _) => Some(Operator::Exists),
        ("DoesNotExist", _) => Some(Operator::DoesNotExist),
        (other, _) => {
            faults.at(&operator, format!("{} is not an operator; expected {EXPECTED}", quoted(other)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::Labels;
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<Selector, Vec<String>> {
        let mut faults = Faults::new(&"f".into());
        let selector = selector(&Field::root(value), &mut faults);
        selector.ok_or_else(|| faults.into_vec().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn all_operators_and_labels_are_conditions() {
        let selector = read(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "env", "operator": "NotIn", "values": ["dev"]},
                {"key": "x", "operator": "Exists"},
                {"key": "y", "operator": "DoesNotExist", "values": []},
            ],
        }))
        .unwrap();
        assert_eq!(selector.to_string(), "app=web,env notin (dev),tier in (a,b),x,!y");
        let labels: Labels = [("app", "web"), ("tier", "b"), ("x", "")].into_iter().collect();
        assert!(selector.matches(&labels));
        assert!(read(&json!({})).unwrap().is_everything());
    }

    #[test]
    fn every_fault_is_told() {
        let faults = read(&json!({
            "matchLabels": {"app": 1},
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": []},
                {"key": "a", "operator": "NotIn"},
                {"key": "a", "operator": "Exists", "values": ["v"]},
                {"key": "a", "operator": "Gt", "values": ["1"]},
                {"operator": "Exists"},
                {"key": "", "operator": "Exists"},
                {"key": "a"},
                null,
            ],
            "matchFields": {},
        }))
        .unwrap_err();
        assert_eq!(
            faults,
            [
                "f: matchFields: is not a known field; expected one of matchLabels, matchExpressions",
                "f: matchLabels.app: found 1; expected a string (quote it)",
                "f: matchExpressions[0].values: is empty; In and NotIn need at least one value",
                "f: matchExpressions[1].values: is missing; expected at least one value for In and NotIn",
                "f: matchExpressions[2].values: Exists and DoesNotExist take no values",
                "f: matchExpressions[3].operator: \"Gt\" is not an operator; expected In, NotIn, Exists or DoesNotExist",
                "f: matchExpressions[4].key: is missing; expected a label's key",
                "f: matchExpressions[5].key: is empty; expected a label's key",
                "f: matchExpressions[6].operator: is missing; expected In, NotIn, Exists or DoesNotExist",
                "f: matchExpressions[7]: found null; expected an object",
                "f: matchExpressions[7].key: is missing; expected a label's key",
                "f: matchExpressions[7].operator: is missing; expected In, NotIn, Exists or DoesNotExist",
            ]
        );
    }

    #[test]
    fn keys_and_values_are_what_labels_can_be() {
        let long = "v".repeat(64);
        let faults = read(&json!({
            "matchLabels": {"a": "-", "b c": "fine", "d/": "e f"},
            "matchExpressions": [
                {"key": "X.io/a", "operator": "Exists"},
                {"key": "x.io/a", "operator": "In", "values": ["", "v", "v_", long]},
                {"key": "/a", "operator": "DoesNotExist"},
                {"key": "a", "operator": "NotIn", "values": ["ä"]},
            ],
        }))
        .unwrap_err();
        let end = "letters, digits, '-', '_' and '.' with a letter or digit at both ends";
        let value = |field: &str, text: &str| {
            format!("f: {field}: {text:?} is not a label's value: it may be empty, or 1 to 63 {end}")
        };
        let name =
            |field: &str, text: &str| format!("f: {field}: the key's name, {text:?}, is not 1 to 63 {end}");
        let prefix = |field: &str, text: &str| {
            format!(
                "f: {field}: the key's prefix, {text:?}, is not a DNS-1123 subdomain of 1 to 253 characters"
            )
        };
        let excerpt = format!("{}…", "v".repeat(60));
        assert_eq!(
            faults,
            [
                value("matchLabels.a", "-"),
                name("matchLabels[\"b c\"]", "b c"),
                name("matchLabels[\"d/\"]", ""),
                value("matchLabels[\"d/\"]", "e f"),
                prefix("matchExpressions[0].key", "X.io"),
                value("matchExpressions[1].values[2]", "v_"),
                value("matchExpressions[1].values[3]", &excerpt),
                prefix("matchExpressions[2].key", ""),
                value("matchExpressions[3].values[0]", "ä"),
            ]
        );
    }
}
