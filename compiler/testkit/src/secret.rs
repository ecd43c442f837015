//! What a server does to a Secret that is written: `stringData` goes into `data`, which is base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::status::Status;

/// Brings a Secret into the form in which it is stored.
pub(crate) fn normalize(secret: &mut Value) -> Result<(), Status> {
    let Some(fields) = secret.as_object_mut() else { return Ok(()) };
    let written = fields.remove("stringData");
    let data = fields.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    let data = data.as_object_mut().ok_or_else(|| Status::bad_request("data: expected a map"))?;
    for (key, value) in written.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let text = value
            .as_str()
            .ok_or_else(|| Status::bad_request(format!("stringData.{key}: expected a string")))?;
        data.insert(key.clone(), json!(STANDARD.encode(text)));
    }
    for (key, value) in data.iter() {
        if value.as_str().is_none_or(|text| STANDARD.decode(text).is_err()) {
            return Err(Status::bad_request(format!("data.{key}: illegal base64 data")));
        }
    }
    if data.is_empty() {
        fields.remove("data");
    }
    fields.entry("type").or_insert_with(|| json!("Opaque"));
    Ok(())
}
