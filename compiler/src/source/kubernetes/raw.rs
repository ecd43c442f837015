//! An object as the API server sends it, before anything is understood of it.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object of any kind. Reading one fails on nothing but broken JSON, so no object can spoil a whole listing, and
/// no field is lost that a later API may have added.
#[derive(Debug, Clone)]
pub(super) struct RawObject(pub(super) Value);

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        // Often the larger half of an object, and pages of objects are held at once.
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Ok(Self(value))
    }
}

impl RawObject {
    /// `metadata.resourceVersion`, unless it is empty.
    pub(super) fn version(&self) -> Option<&str> {
        self.metadata("resourceVersion").filter(|version| !version.is_empty())
    }

    /// `metadata.name`; empty if there is none.
    pub(super) fn name(&self) -> &str {
        self.metadata("name").unwrap_or_default()
    }

    /// `metadata.namespace`.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.metadata("namespace")
    }

    fn metadata(&self, field: &str) -> Option<&str> {
        self.0.get("metadata")?.get(field)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_is_an_object_and_managed_fields_are_gone() {
        let read = |text| serde_json::from_str::<RawObject>(text).unwrap();
        let pod =
            read(r#"{"metadata":{"name":"a","resourceVersion":"7","managedFields":[{}]},"spec":{"new":1}}"#);
        assert_eq!((pod.name(), pod.version(), pod.namespace()), ("a", Some("7"), None));
        assert_eq!(
            pod.0,
            serde_json::json!({"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"new": 1}})
        );
        for odd in ["null", "7", "[]", "{}", r#"{"metadata":null}"#, r#"{"metadata":{"name":7}}"#] {
            assert_eq!((read(odd).name(), read(odd).version()), ("", None));
        }
    }
}
