//! What a server adds to an object that is written.

use serde_json::{Value, json};

use crate::kind::Kind;

/// Fills in what a server adds to an object, the bulk of `managedFields` included.
pub(crate) fn stamp(
    kind: &Kind,
    namespace: &str,
    object: &mut Value,
    existing: Option<&Value>,
    version: u64,
    serial: u64,
) {
    let old = |path| existing.and_then(|existing| existing.pointer(path));
    let uid = old("/metadata/uid")
        .cloned()
        .unwrap_or_else(|| json!(format!("00000000-0000-4000-8000-{serial:012}")));
    let generation = old("/metadata/generation").and_then(Value::as_u64).unwrap_or_default();
    let same_spec = existing.is_some_and(|existing| existing.get("spec") == object.get("spec"));
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    let metadata = &mut object["metadata"];
    if kind.namespaced {
        metadata["namespace"] = json!(namespace);
    }
    metadata["resourceVersion"] = json!(version.to_string());
    metadata["uid"] = uid;
    metadata["generation"] = json!(if same_spec { generation } else { generation + 1 });
    metadata["creationTimestamp"] = json!("2025-01-01T00:00:00Z");
    metadata["managedFields"] = json!([{
        "manager": "testkit",
        "operation": "Update",
        "apiVersion": kind.api_version(),
        "time": "2025-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": { "f:metadata": { "f:labels": { ".": {} } }, "f:spec": {}, "f:status": {} },
    }]);
}
