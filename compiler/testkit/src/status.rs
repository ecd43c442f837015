//! `metav1.Status`: how the API server says that something went wrong.

use http::StatusCode;
use serde_json::{Value, json};

use crate::kind::Kind;

/// A failure as its `Status` body tells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code}): {message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `Conflict`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details`; null if there are none.
    pub details: Value,
}

impl Status {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code: code.as_u16(), reason, message: message.into(), details: Value::Null }
    }

    pub(crate) fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({ "name": name, "group": kind.group, "kind": kind.plural });
        self
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.resource());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(kind, name)
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.resource());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, found: &str, current: &str) -> Self {
        let message =
            format!("{} {name:?}: resource version {found} is stale, it is {current}", kind.resource());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    pub(crate) fn expired(version: u64, oldest: u64) -> Self {
        let message = format!("resource version {version} is too old, the oldest is {oldest}");
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// An object that may not be so.
    pub(crate) fn invalid(kind: &Kind, name: &str, fault: &str) -> Self {
        let message = format!("{} {name:?} is invalid: {fault}", kind.resource());
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name)
    }

    /// Options of a list or watch that contradict each other.
    pub(crate) fn invalid_options(field: &str, message: &str) -> Self {
        let mut status = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("ListOptions.meta.k8s.io is invalid: {field}: {message}"),
        );
        status.details = json!({
            "group": "meta.k8s.io",
            "kind": "ListOptions",
            "causes": [{ "reason": "FieldValueForbidden", "message": message, "field": field }],
        });
        status
    }

    /// A list at a version that the server has not reached yet.
    pub(crate) fn version_too_large(version: u64, current: u64) -> Self {
        let mut status = Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("resource version {version} is not reached yet, it is {current}"),
        );
        status.details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "resource version not reached" }],
            "retryAfterSeconds": 1,
        });
        status
    }

    /// The code of the response.
    pub(crate) fn http_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The object that goes into the body, or into an ERROR event.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if let (Some(body), false) = (body.as_object_mut(), self.details.is_null()) {
            body.insert("details".to_owned(), self.details.clone());
        }
        body
    }
}
