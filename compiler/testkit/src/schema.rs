//! The schema of the custom kind that is served, as the manifest of the programs has it: what is unknown is pruned, what
//! breaks it is refused. And what a server checks of Events.

use std::sync::OnceLock;

use serde_json::Value;

use crate::kind::{EVENT, Kind, NODE_PODS};
use crate::manifest::manifest;
use crate::status::Status;

/// The schema of a kind; `None` for those that a server knows by itself, which are taken as they are.
fn of(kind: Kind) -> Option<&'static Value> {
    static NODE_PODS_SCHEMA: OnceLock<Value> = OnceLock::new();
    let read = || {
        let definition = manifest().into_iter().find(|object| object["kind"] == "CustomResourceDefinition");
        let schema = definition.map(|it| it["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone());
        schema.unwrap_or_default()
    };
    (kind == NODE_PODS).then(|| NODE_PODS_SCHEMA.get_or_init(read))
}

/// Takes out of an object what its schema does not know; the type and metadata are every object's.
pub(crate) fn admit(kind: Kind, object: &mut Value) -> Result<(), Status> {
    if kind == EVENT {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        return event(object).map_err(|fault| Status::invalid(&kind, name, &fault));
    }
    let Some(schema) = of(kind) else { return Ok(()) };
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    let known = |field: &str| {
        matches!(field, "apiVersion" | "kind" | "metadata") || schema["properties"].get(field).is_some()
    };
    fields.retain(|field, _| known(field));
    for (field, value) in fields.iter_mut() {
        if let Some(schema) = schema["properties"].get(field) {
            checked(schema, value, field).map_err(|fault| Status::invalid(&kind, &name, &fault))?;
        }
    }
    Ok(())
}

/// What a server checks of an Event of `events.k8s.io/v1`.
fn event(object: &Value) -> Result<(), String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    for (path, longest) in
        [("reportingController", 253), ("reportingInstance", 128), ("action", 128), ("reason", 128)]
    {
        match text(&format!("/{path}")).len() {
            0 => return Err(format!("{path}: Required value")),
            length if length > longest => {
                return Err(format!("{path}: can have at most {longest} characters"));
            }
            _ => {}
        }
    }
    // As Go's layout "2006-01-02T15:04:05.000000Z07:00" has it.
    if text("/eventTime").len() != "2006-01-02T15:04:05.000000Z".len() || !text("/eventTime").ends_with('Z') {
        return Err(format!("eventTime: Required value, or no micro time: {}", object["eventTime"]));
    }
    if text("/note").len() > 1024 {
        return Err("note: can have at most 1024 characters".to_owned());
    }
    if !["Normal", "Warning"].contains(&text("/type")) {
        return Err("type: has invalid value".to_owned());
    }
    if text("/metadata/name").len() > 253 {
        return Err("metadata.name: must be no more than 253 characters".to_owned());
    }
    if text("/metadata/namespace") != text("/regarding/namespace") {
        return Err("regarding.namespace: does not match event.namespace".to_owned());
    }
    Ok(())
}

fn checked(schema: &Value, value: &mut Value, path: &str) -> Result<(), String> {
    let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let is_over = |length: usize, name: &str| limit(name).is_some_and(|limit| length > limit);
    match (schema["type"].as_str().unwrap_or_default(), value) {
        ("object", Value::Object(fields)) => {
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(required) {
                    return Err(format!("{path}.{required}: Required value"));
                }
            }
            fields.retain(|field, _| schema["properties"].get(field).is_some());
            for (field, value) in fields.iter_mut() {
                checked(&schema["properties"][field], value, &format!("{path}.{field}"))?;
            }
            Ok(())
        }
        ("array", Value::Array(items)) => {
            if is_over(items.len(), "maxItems") {
                return Err(format!("{path}: Too many: {}", items.len()));
            }
            let items = items.iter_mut().enumerate();
            items
                .into_iter()
                .try_for_each(|(at, item)| checked(&schema["items"], item, &format!("{path}[{at}]")))
        }
        ("string", Value::String(text)) if is_over(text.chars().count(), "maxLength") => {
            Err(format!("{path}: Too long"))
        }
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => Ok(()),
        (wanted, found) => Err(format!("{path}: Invalid value: {found}: must be of type {wanted}")),
    }
}
