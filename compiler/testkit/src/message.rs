//! Open watches, and what they are told.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::faults::Cut;
use crate::kind::Kind;
use crate::selector::Selector;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventType {
    /// It is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone; the event carries its last state.
    Deleted,
}

/// What a watch is told, in order.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A change.
    Event(EventType, Arc<Value>),
    /// Everything up to this version has been told.
    Bookmark(u64),
    /// Bytes as they are.
    Raw(String),
    /// The end, as when the time of the watch is up.
    End,
    /// The end of the connection, in the middle of the next message.
    Cut(Cut),
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// At the present: all objects first, as if they had just been added.
    Now,
    /// After this version.
    Version(u64),
}

/// Who is told.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) kind: Kind,
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
    pub(crate) bookmarks: bool,
    /// It is told of nothing up to this version, be that in the past or in the future.
    pub(crate) after: u64,
    /// The version of the newest bookmark that it was sent unasked.
    pub(crate) marked: u64,
    pub(crate) messages: mpsc::UnboundedSender<Message>,
}

impl Watch {
    /// Returns true if it is about an object.
    pub(crate) fn covers(&self, kind: Kind, object: &Value) -> bool {
        self.kind == kind
            && in_namespace(kind, object, self.namespace.as_deref())
            && self.selector.matches(object)
    }
}

/// Returns true if an object is in `namespace`; every object is in `None`.
pub(crate) fn in_namespace(kind: Kind, object: &Value, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|wanted| kind.key(object).is_some_and(|(found, _)| found == wanted))
}
