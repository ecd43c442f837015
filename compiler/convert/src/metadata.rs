//! `metadata`: what names an object, its labels and its annotations.

use std::sync::Arc;

use flock_compiler_core::Labels;
use flock_compiler_core::object::LintCode;
use flock_compiler_core::sorted::Sorted;
use flock_shared::{NamespaceName, ObjectKey, ObjectName};
use serde_json::Value;

use super::field::{Faults, Field, describe, quoted};

/// The API's default for namespaced objects.
const DEFAULT_NAMESPACE: &str = "default";

/// The annotation of policies and namespaces with the codes of findings that are not told, with commas between them.
const IGNORE: &str = "flock.netpol/ignore";

/// The longest text that is kept of `uid` and `resourceVersion`; both have at most 36 bytes in all clusters known.
const TOKEN_LIMIT: usize = 128;

/// Namespace and name.
pub(super) fn key(root: &Field<'_>, faults: &mut Faults) -> Option<ObjectKey> {
    let Some(metadata) = root.get("metadata") else {
        faults.missing(root, "metadata", "an object with a name");
        return None;
    };
    let namespace = match metadata.get("namespace") {
        Some(field) => field.parsed(faults, NamespaceName::new),
        None => NamespaceName::new(DEFAULT_NAMESPACE).ok(),
    };
    let name = name(root, faults, ObjectName::new);
    // Only now, so that a fault of the namespace does not hide one of the name.
    Some(ObjectKey { namespace: namespace?, name: name? })
}

/// The name, validated by `parse`.
pub(super) fn name<T, E: std::fmt::Display>(
    root: &Field<'_>,
    faults: &mut Faults,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let Some(metadata) = root.get("metadata") else {
        faults.missing(root, "metadata", "an object with a name");
        return None;
    };
    // What is no object has no fields either, and its name would be told to be missing.
    metadata.object(faults)?;
    let Some(name) = metadata.get("name") else {
        faults.missing(&metadata, "name", "a name");
        return None;
    };
    name.parsed(faults, parse)
}

/// The labels; opaque strings.
pub(super) fn labels(root: &Field<'_>, faults: &mut Faults) -> Labels {
    let Some(metadata) = root.get("metadata") else { return Labels::default() };
    metadata.get("labels").map(|labels| labels.labels(faults)).unwrap_or_default()
}

/// A text of `metadata` that only ever compares with others of its kind, such as `uid`. Nothing depends on it but what is
/// cited, so what is not understood is no fault.
pub(super) fn token(root: &Field<'_>, key: &str) -> Option<Arc<str>> {
    let metadata = root.get("metadata")?;
    let text = metadata.get(key)?.as_text()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ((1..=TOKEN_LIMIT).contains(&text.len()) && text.bytes().all(plain)).then(|| text.into())
}

/// The findings that are not told of an object: the codes in its annotation [`IGNORE`]. What is no code silences nothing.
pub(super) fn ignored_lints(root: &Field<'_>) -> Sorted<LintCode> {
    let Some(metadata) = root.get("metadata") else { return Sorted::new() };
    let Some(annotations) = metadata.get("annotations") else { return Sorted::new() };
    let Some(listed) = annotations.get(IGNORE) else { return Sorted::new() };
    let codes = listed.as_text().unwrap_or_default().split(',');
    codes.filter_map(|code| code.trim().parse().ok()).collect()
}

/// Kind, namespace and name of an object for messages, as far as they can be read; safe to print.
pub(super) fn title(kind: &str, value: &Value) -> String {
    let metadata =
        |key| value.get("metadata").and_then(|metadata| metadata.get(key)).filter(|v| !v.is_null());
    let part = |value: &Value| match value.as_str() {
        Some(text) => plain(text),
        None => describe(value),
    };
    let kind = plain(kind);
    match (metadata("namespace").map(part), metadata("name").map(part)) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) if is_namespaced(&kind) => {
            format!("{kind} {DEFAULT_NAMESPACE}/{name}")
        }
        (None, Some(name)) => format!("{kind} {name}"),
        (Some(namespace), None) => format!("{kind} {namespace}/(no name)"),
        (None, None) => format!("{kind} (no name)"),
    }
}

/// The namespace of an object that is in one, if it can be read.
pub(super) fn namespace(kind: &str, value: &Value) -> Option<NamespaceName> {
    let namespace = value.get("metadata").and_then(|metadata| metadata.get("namespace"));
    let name = match namespace.filter(|namespace| !namespace.is_null()) {
        Some(namespace) => namespace.as_str()?,
        None => DEFAULT_NAMESPACE,
    };
    if is_namespaced(kind) { NamespaceName::new(name).ok() } else { None }
}

/// Returns true if objects of a kind that is watched are in namespaces.
fn is_namespaced(kind: &str) -> bool {
    matches!(kind, "Pod" | "NetworkPolicy")
}

/// Text as it stands if it is short and made of what names are made of, else quoted.
pub(super) fn plain(text: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'/');
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(allowed) {
        text.to_owned()
    } else {
        quoted(text)
    }
}
