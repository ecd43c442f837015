//! `metav1.LabelSelector`.

use std::collections::BTreeSet;
use std::sync::Arc;

use flock_compiler_core::{Operator, Requirement, Selector};

use super::field::{Faults, Field, quoted};

/// A selector; `None` with faults if some part of it is not understood.
pub(super) fn selector(field: &Field<'_>, faults: &mut Faults) -> Option<Selector> {
    let before = faults.count();
    field.only(&["matchLabels", "matchExpressions"], faults);
    let mut requirements = Vec::new();
    if let Some(labels) = field.get("matchLabels") {
        requirements.extend(labels.pairs(faults).into_iter().map(|(key, value)| Requirement {
            key: key.into(),
            operator: Operator::In([Arc::from(value)].into()),
        }));
    }
    if let Some(expressions) = field.get("matchExpressions") {
        for expression in expressions.items(faults) {
            requirements.extend(requirement(&expression, faults));
        }
    }
    (faults.count() == before).then(|| requirements.into_iter().collect())
}

fn requirement(field: &Field<'_>, faults: &mut Faults) -> Option<Requirement> {
    field.only(&["key", "operator", "values"], faults);
    let key = match field.get("key") {
        Some(key) => key.text(faults).filter(|text| {
            if text.is_empty() {
                faults.at(&key, "is empty; expected a label's key");
            }
            !text.is_empty()
        }),
        None => {
            faults.missing(field, "key", "a label's key");
            None
        }
    }
    .map(Arc::from);
    let operator = operator(field, faults);
    Some(Requirement { key: key?, operator: operator? })
}

fn operator(field: &Field<'_>, faults: &mut Faults) -> Option<Operator> {
    const EXPECTED: &str = "In, NotIn, Exists or DoesNotExist";
    let mut values: BTreeSet<Arc<str>> = BTreeSet::new();
    let listed = field.get("values");
    if let Some(listed) = &listed {
        for value in listed.items(faults) {
            values.extend(value.text(faults).map(Arc::from));
        }
    }
    let Some(operator) = field.get("operator") else {
        faults.missing(field, "operator", EXPECTED);
        return None;
    };
    match (operator.text(faults)?, listed) {
        ("In", _) if !values.is_empty() => Some(Operator::In(values)),
        ("NotIn", _) if !values.is_empty() => Some(Operator::NotIn(values)),
        ("In" | "NotIn", Some(listed)) => {
            faults.at(&listed, "is empty; In and NotIn need at least one value");
            None
        }
        ("In" | "NotIn", None) => {
            faults.missing(field, "values", "at least one value for In and NotIn");
            None
        }
        ("Exists" | "DoesNotExist", Some(listed)) if !values.is_empty() => {
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
}
