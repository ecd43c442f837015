//! LIST: which version is served, which page of it, and what the body looks like.

use serde_json::{Value, json};

use crate::page::Continue;
use crate::request::{Options, Target};
use crate::selector::Selector;
use crate::status::Status;
use crate::store::{Snapshot, Store, listed};

/// The body of a listing.
pub(crate) fn list(store: &Store, target: &Target, options: &Options) -> Result<Value, Status> {
    let selector = Selector::parse(options)?;
    if options.get("sendInitialEvents").is_some() {
        return Err(Status::invalid_options("sendInitialEvents", "is for watches only"));
    }
    let limit =
        options.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let (version, offset, snapshot) = read(store, target, options, limit.is_some())?;

    let listed = listed(target.kind, target.namespace.as_deref());
    let all: Vec<_> = snapshot.iter().filter(listed).filter(|object| selector.matches(object)).collect();
    let item = |object: &Value| if target.kind.is_custom() { object.clone() } else { untyped(object) };
    let page: Vec<Value> =
        all.iter().skip(offset).take(limit.unwrap_or(usize::MAX)).map(|it| item(it)).collect();
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    let next = Continue { version, offset: offset + page.len() };
    if next.offset < all.len() {
        metadata["continue"] = json!(next.to_token());
        // With a selector a server does not know it.
        if !selector.is_given() {
            metadata["remainingItemCount"] = json!(all.len() - next.offset);
        }
    }
    Ok(json!({
        "kind": format!("{}List", target.kind.kind),
        "apiVersion": target.kind.api_version(),
        "metadata": metadata,
        "items": page,
    }))
}

/// The version that the options ask for, the position in it and its objects.
fn read(
    store: &Store,
    target: &Target,
    options: &Options,
    paged: bool,
) -> Result<(u64, usize, Snapshot), Status> {
    let version = options.number("resourceVersion")?;
    let matching = options.get("resourceVersionMatch");
    if let Some(token) = options.get("continue") {
        if matching.is_some() {
            return Err(Status::invalid_options("resourceVersionMatch", "not together with continue"));
        }
        if version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request("resourceVersion: not together with continue"));
        }
        let Continue { version, offset } = Continue::parse(token)?;
        return Ok((version, offset, store.listing(target.kind, version)?));
    }
    let newest = || {
        let (version, snapshot) = store.open_listing(target.kind);
        Ok((version, 0, snapshot))
    };
    match (version, matching) {
        (None, Some(_)) => {
            Err(Status::invalid_options("resourceVersionMatch", "only together with resourceVersion"))
        }
        (Some(0), Some("Exact")) => {
            Err(Status::invalid_options("resourceVersionMatch", "Exact needs a version"))
        }
        (_, Some(other)) if !matches!(other, "Exact" | "NotOlderThan") => {
            Err(Status::invalid_options("resourceVersionMatch", "expected Exact or NotOlderThan"))
        }
        (None | Some(0), _) => newest(),
        (Some(version), _) if version > store.version() => {
            Err(Status::version_too_large(version, store.version()))
        }
        (Some(version), Some("Exact")) => Ok((version, 0, store.listing(target.kind, version)?)),
        // Without a match rule a limit makes the version exact, for the sake of clients older than the rule.
        (Some(version), None) if paged => Ok((version, 0, store.listing(target.kind, version)?)),
        (Some(_), _) => newest(),
    }
}

/// An object as it stands in a list of a kind that the server knows by itself: without its type.
fn untyped(object: &Value) -> Value {
    let mut item = object.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    item
}
