//! WATCH: where a stream starts, and its messages as lines of JSON.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::faults::{Expiry, Faults};
use crate::kind::Kind;
use crate::message::{EventType, Message, Since};
use crate::request::{Options, Target};
use crate::selector::Selector;
use crate::status::Status;
use crate::store::Store;

/// An open watch.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) messages: mpsc::UnboundedReceiver<Message>,
    /// When the server ends it.
    pub(crate) timeout: Duration,
    /// Whether it gets a bookmark before that.
    pub(crate) bookmarks: bool,
    /// It knows everything up to this version.
    pub(crate) after: u64,
    store: Store,
}

impl Stream {
    /// When it gets a bookmark before its end, counted from its start.
    pub(crate) fn last_bookmark(&self) -> Option<Duration> {
        self.timeout.checked_sub(BEFORE_THE_END).filter(|_| self.bookmarks)
    }

    /// How far it has been read by then, if that is news: a server knows it of kinds in which something has happened.
    pub(crate) fn news(&self) -> Option<u64> {
        self.store.news(self.kind).filter(|version| *version > self.after)
    }
}

/// What a watch is answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    Stream(Stream),
    /// A stream of just this line.
    Line(Bytes),
}

/// How long a watch lasts if the client does not say.
const DEFAULT_TIMEOUT: u64 = 30 * 60;
/// So long before its end a watch gets a bookmark.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

pub(crate) fn watch(
    store: &Store,
    faults: &Faults,
    target: &Target,
    options: &Options,
) -> Result<Answer, Status> {
    let selector = Selector::of_watch(options)?;
    if options.get("sendInitialEvents").is_some() {
        return Err(Status::invalid_options("sendInitialEvents", "streaming lists are off"));
    }
    if options.get("resourceVersionMatch").is_some() {
        return Err(Status::invalid_options("resourceVersionMatch", "is for lists only"));
    }
    let since = match options.number("resourceVersion")? {
        None | Some(0) => Since::Now,
        Some(version) => Since::Version(version),
    };
    let timeout = Duration::from_secs(options.number("timeoutSeconds")?.unwrap_or(DEFAULT_TIMEOUT));
    let bookmarks = options.flag("allowWatchBookmarks");
    match store.watch(target.kind, target.namespace.as_deref(), selector, since, bookmarks) {
        Ok(messages) => {
            let after = if let Since::Version(version) = since { version } else { store.version() };
            let (kind, store) = (target.kind, store.shared());
            Ok(Answer::Stream(Stream { kind, messages, timeout, bookmarks, after, store }))
        }
        Err(status) => match faults.expiry() {
            Expiry::Response => Err(status),
            Expiry::Event => Ok(Answer::Line(line("ERROR", &status.to_json()))),
        },
    }
}

/// A change as one line.
pub(crate) fn event(event: EventType, object: &Value) -> Bytes {
    let name = match event {
        EventType::Added => "ADDED",
        EventType::Modified => "MODIFIED",
        EventType::Deleted => "DELETED",
    };
    line(name, object)
}

/// A bookmark as one line.
pub(crate) fn bookmark(kind: Kind, version: u64) -> Bytes {
    let metadata = json!({ "resourceVersion": version.to_string(), "creationTimestamp": null });
    line("BOOKMARK", &json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata }))
}

/// An event that is no JSON, in the middle of its object.
pub(crate) fn corrupt(event: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(event);
    Bytes::from(text.replacen("\"metadata\":", "\"metadata\"!", 1))
}

fn line(event: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "type": event, "object": object })))
}
