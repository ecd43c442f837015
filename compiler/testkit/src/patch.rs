//! JSON merge patch (RFC 7386), the one form of PATCH that is served.

use serde_json::Value;

use crate::status::Status;

/// The content type of a merge patch.
const MERGE: &str = "application/merge-patch+json";

/// `object` with the patch of a request's body applied.
pub(crate) fn patched(mut object: Value, content_type: &str, body: &[u8]) -> Result<Value, Status> {
    if content_type.split(';').next().is_none_or(|kind| kind.trim() != MERGE) {
        return Err(Status::new(
            http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {MERGE}"
            ),
        ));
    }
    let patch = serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?;
    merge(&mut object, patch);
    Ok(object)
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(fields) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in fields {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_replaced_merged_and_removed() {
        let object = json!({ "a": "b", "c": { "d": "e", "f": "g" }, "l": [1, 2] });
        let patch = br#"{"a":"z","c":{"f":null},"l":[3],"n":{"x":null,"y":1}}"#;
        let merged = json!({ "a": "z", "c": { "d": "e" }, "l": [3], "n": { "y": 1 } });
        assert_eq!(patched(object.clone(), MERGE, patch), Ok(merged));
        let other = patched(object, "application/strategic-merge-patch+json", patch);
        assert_eq!(other.map_err(|status| status.code), Err(415));
    }
}
