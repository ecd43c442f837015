//! `labelSelector` and `fieldSelector`: equality, existence, and of the fields name and namespace.

use serde_json::Value;

use crate::request::Options;
use crate::status::Status;

/// What a list or watch is narrowed to; nothing narrows the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<(String, Condition)>,
    fields: Vec<(&'static str, Condition)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Is(String),
    /// Also where there is none.
    IsNot(String),
    Exists,
    DoesNotExist,
}

impl Condition {
    fn holds(&self, found: Option<&str>) -> bool {
        match self {
            Self::Is(wanted) => found == Some(wanted),
            Self::IsNot(unwanted) => found != Some(unwanted),
            Self::Exists => found.is_some(),
            Self::DoesNotExist => found.is_none(),
        }
    }
}

impl Selector {
    /// Reads both selectors. What this server does not implement is refused, rather than ignored.
    pub(crate) fn parse(options: &Options) -> Result<Self, Status> {
        let labels = requirements(options.get("labelSelector").unwrap_or_default())?;
        let fields = requirements(options.get("fieldSelector").unwrap_or_default())?;
        let fields = fields.into_iter().map(|(path, condition)| {
            let pointer = match path.as_str() {
                "metadata.name" => "/metadata/name",
                "metadata.namespace" => "/metadata/namespace",
                _ => return Err(not_implemented(&path)),
            };
            Ok((pointer, condition))
        });
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Returns true if it narrows anything.
    pub(crate) fn is_given(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// Reads the selectors of a watch. An object that starts or ceases to match would have to appear and vanish in the
    /// stream; by fields that never change, none does.
    pub(crate) fn of_watch(options: &Options) -> Result<Self, Status> {
        match options.get("labelSelector") {
            Some(_) => Err(not_implemented("labelSelector on a watch")),
            None => Self::parse(options),
        }
    }

    /// Returns true if an object matches.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        let field = |pointer: &str| object.pointer(pointer)?.as_str();
        self.labels.iter().all(|(key, condition)| condition.holds(label(key)))
            && self.fields.iter().all(|(pointer, condition)| condition.holds(field(pointer)))
    }
}

fn not_implemented(what: &str) -> Status {
    Status::bad_request(format!("{what} is not implemented by this test server"))
}

fn requirements(text: &str) -> Result<Vec<(String, Condition)>, Status> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(requirement).collect()
}

fn requirement(text: &str) -> Result<(String, Condition), Status> {
    if text.contains(['(', ')', ' ']) {
        return Err(not_implemented(&format!("the selector {text:?}")));
    }
    let value = |value: &str| value.to_owned();
    let (key, condition) = if let Some((key, unwanted)) = text.split_once("!=") {
        (key, Condition::IsNot(value(unwanted)))
    } else if let Some((key, wanted)) = text.split_once('=') {
        (key, Condition::Is(value(wanted.strip_prefix('=').unwrap_or(wanted))))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Condition::DoesNotExist)
    } else {
        (text, Condition::Exists)
    };
    Ok((key.to_owned(), condition))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(query: &str) -> Result<bool, u16> {
        let labels = json!({ "app": "web", "tier": "front" });
        let object = json!({ "metadata": { "name": "x", "namespace": "a", "labels": labels } });
        let selector = Selector::parse(&Options::parse(query)).map_err(|status| status.code)?;
        Ok(selector.matches(&object))
    }

    #[test]
    fn equality_and_existence_are_understood_and_sets_are_refused() {
        for yes in [
            "",
            "labelSelector=app%3Dweb",
            "labelSelector=app%3D%3Dweb,tier",
            "labelSelector=app!%3Ddb,none!%3Dx,!none",
            "fieldSelector=metadata.name%3Dx,metadata.namespace!%3Db",
        ] {
            assert_eq!(matches(yes), Ok(true), "{yes}");
        }
        for no in ["labelSelector=app%3Ddb", "labelSelector=none", "fieldSelector=metadata.name%3Dy"] {
            assert_eq!(matches(no), Ok(false), "{no}");
        }
        for refused in ["labelSelector=app+in+(web)", "fieldSelector=spec.nodeName%3Dn"] {
            assert_eq!(matches(refused), Err(400), "{refused}");
        }
    }
}
