//! The objects, the one counter that versions them, and who is told of their changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::faults::Cut;
use crate::kind::{Kind, SECRET};
use crate::message::{EventType, Message, Since, Watch, in_namespace};
use crate::secret;
use crate::selector::Selector;
use crate::stamp::stamp;
use crate::status::Status;

/// Namespace (empty for cluster-wide kinds) and name.
type Key = (String, String);

/// Objects of one kind as they were at one version.
pub(crate) type Snapshot = Arc<[Arc<Value>]>;

/// The objects of a server. Tests change them directly, requests change them over HTTP.
#[derive(Debug)]
pub struct Store(Arc<Mutex<Objects>>);

#[derive(Debug)]
struct Objects {
    version: u64,
    created: u64,
    objects: BTreeMap<Kind, BTreeMap<Key, Arc<Value>>>,
    /// Changes after version `oldest`, with the version that each led to.
    history: VecDeque<(u64, Kind, EventType, Arc<Value>)>,
    oldest: u64,
    capacity: usize,
    /// Listings whose next pages may still be asked for.
    snapshots: BTreeMap<(Kind, u64), Snapshot>,
    /// The version of the newest change of each kind.
    changed: BTreeMap<Kind, u64>,
    watches: Vec<Watch>,
}

/// A store as it was at some time.
#[derive(Debug, Clone)]
pub struct Backup {
    version: u64,
    objects: BTreeMap<Kind, BTreeMap<Key, Arc<Value>>>,
}

/// What it is to write an object that is there like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// A change like any other, as tests want it.
    IsNews,
    /// Nothing, as a server has it.
    IsNothing,
}

/// Returns true if two states of an object differ in their versions at most.
fn is_same(one: &Value, other: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        object
    };
    bare(one) == bare(other)
}

/// The resource version of an object; empty if it has none.
fn version_of(object: &Value) -> &str {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
}

impl Store {
    /// An empty store that remembers so many changes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Objects {
            version: 1,
            created: 0,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            oldest: 1,
            capacity,
            snapshots: BTreeMap::new(),
            changed: BTreeMap::new(),
            watches: Vec::new(),
        })))
    }

    /// The same store, for a watch that is open.
    pub(crate) fn shared(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn inner(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an object.
    ///
    /// # Errors
    /// 409 if it exists, 400 if it has no name.
    pub fn create(&self, kind: Kind, object: Value) -> Result<Value, Status> {
        self.inner().write(kind, object, Same::IsNews, |kind, key, existing| match existing {
            Some(_) => Err(Status::already_exists(kind, &key.1)),
            None => Ok(()),
        })
    }

    /// Replaces an object; if it carries a resource version, only while that is the current one. What changes nothing is
    /// no change, of which nobody is told.
    ///
    /// # Errors
    /// 404 if it does not exist, 409 on a stale version, 400 if it has no name; 422 for an object of a custom kind that
    /// carries no version.
    pub fn update(&self, kind: Kind, object: Value) -> Result<Value, Status> {
        let given = version_of(&object).to_owned();
        let check =
            |kind: &Kind, key: &Key, existing: Option<&Arc<Value>>| match existing.map(|it| version_of(it)) {
                None => Err(Status::not_found(kind, &key.1)),
                Some(_) if given.is_empty() && kind.is_custom() => Err(Status::invalid(
                    kind,
                    &key.1,
                    "metadata.resourceVersion: must be specified for an update",
                )),
                Some(current) if !given.is_empty() && given != current => {
                    Err(Status::conflict(kind, &key.1, &given, current))
                }
                Some(_) => Ok(()),
            };
        self.inner().write(kind, object, Same::IsNothing, check)
    }

    /// Adds or replaces an object, whatever its resource version says.
    ///
    /// # Errors
    /// 400 if it has no name.
    pub fn put(&self, kind: Kind, object: Value) -> Result<Value, Status> {
        self.inner().write(kind, object, Same::IsNews, |_, _, _| Ok(()))
    }

    /// Removes an object and returns its last state; `namespace` is empty for cluster-wide kinds.
    ///
    /// # Errors
    /// 404 if it does not exist.
    pub fn remove(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value, Status> {
        self.inner().remove(kind, &(namespace.to_owned(), name.to_owned()))
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        let key = (namespace.to_owned(), name.to_owned());
        self.inner().objects.get(&kind)?.get(&key).map(|object| (**object).clone())
    }

    /// All objects of a kind, ordered by namespace and name.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<Value> {
        self.inner()
            .objects
            .get(&kind)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|it| (**it).clone())
            .collect()
    }

    /// The current resource version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.inner().version
    }

    /// Forgets all history and all open listings: who has not been told of the newest version gets 410 when resuming.
    pub fn compact(&self) {
        let mut inner = self.inner();
        inner.oldest = inner.version;
        inner.history.clear();
        inner.snapshots.clear();
    }

    /// All objects and the version.
    #[must_use]
    pub fn backup(&self) -> Backup {
        let inner = self.inner();
        Backup { version: inner.version, objects: inner.objects.clone() }
    }

    /// Goes back to a backup, as when that of an etcd is put in place: versions are counted on from there, and who
    /// watches is told nothing more.
    pub fn restore(&self, backup: &Backup) {
        let mut inner = self.inner();
        inner.objects.clone_from(&backup.objects);
        (inner.version, inner.oldest) = (backup.version, backup.version);
        inner.history.clear();
        inner.snapshots.clear();
        inner.changed.clear();
        inner.watches.clear();
    }

    /// Sends a bookmark to every watch that asked for them.
    pub fn bookmark(&self) {
        let mut inner = self.inner();
        let version = inner.version;
        inner.tell(|watch| (watch.bookmarks && watch.after <= version).then_some(Message::Bookmark(version)));
    }

    /// Sends the bookmarks that a server sends unasked: of kinds in which something has happened. How far the others have
    /// been read it does not know itself.
    pub(crate) fn bookmark_unasked(&self) {
        let mut inner = self.inner();
        let changed = inner.changed.clone();
        for watch in &mut inner.watches {
            let news = changed.get(&watch.kind).copied().filter(|at| *at > watch.after.max(watch.marked));
            if let Some(version) = news.filter(|_| watch.bookmarks) {
                watch.marked = version;
                // One that is closed goes with the next change.
                let _ = watch.messages.send(Message::Bookmark(version));
            }
        }
    }

    /// The version of the newest change of a kind, if there was any.
    pub(crate) fn news(&self, kind: Kind) -> Option<u64> {
        self.inner().changed.get(&kind).copied()
    }

    /// Sends a line as it is to the watches of a kind.
    pub fn send_line(&self, kind: Kind, line: &str) {
        self.inner().tell(|watch| (watch.kind == kind).then(|| Message::Raw(format!("{line}\n"))));
    }

    /// Sends all changes of a kind after `version` once more.
    pub fn replay(&self, kind: Kind, version: u64) {
        let mut inner = self.inner();
        let again: Vec<_> =
            inner.history.iter().filter(|(at, of, ..)| *at > version && *of == kind).cloned().collect();
        for (_, _, event, object) in again {
            inner.tell(|watch| {
                watch.covers(kind, &object).then(|| Message::Event(event, Arc::clone(&object)))
            });
        }
    }

    /// Ends all watches of a kind as when their time is up.
    pub fn end_watches(&self, kind: Kind) {
        self.inner().tell(|watch| (watch.kind == kind).then_some(Message::End));
    }

    /// Cuts the connections of all watches, in the middle of a bookmark.
    pub fn cut_watches(&self, cut: Cut) {
        let mut inner = self.inner();
        let version = inner.version;
        inner.tell(|_| Some(Message::Cut(cut)));
        inner.tell(|_| Some(Message::Bookmark(version)));
    }

    /// Cuts the connections of the watches of a kind in the middle of what they are told next.
    pub fn cut_next_event(&self, kind: Kind, cut: Cut) {
        self.inner().tell(|watch| (watch.kind == kind).then_some(Message::Cut(cut)));
    }

    /// Tells the watches that are open nothing more.
    pub(crate) fn forsake_watches(&self) {
        self.inner().watches.clear();
    }

    /// How many watches of a kind are open.
    #[must_use]
    pub fn watches(&self, kind: Kind) -> usize {
        self.inner().watches.iter().filter(|watch| watch.kind == kind && !watch.messages.is_closed()).count()
    }

    /// Opens a watch. Its first messages are what it has missed.
    pub(crate) fn watch(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: Selector,
        since: Since,
        bookmarks: bool,
    ) -> Result<mpsc::UnboundedReceiver<Message>, Status> {
        let mut inner = self.inner();
        let (messages, receiver) = mpsc::unbounded_channel();
        let after = match since {
            Since::Now => 0,
            Since::Version(version) => version,
        };
        let namespace = namespace.map(str::to_owned);
        let watch = Watch { kind, namespace, selector, bookmarks, after, marked: 0, messages };
        let missed: Vec<(EventType, Arc<Value>)> = match since {
            Since::Version(version) if version < inner.oldest => {
                return Err(Status::expired(version, inner.oldest));
            }
            Since::Version(version) => {
                let after = inner.history.iter().filter(|(at, of, ..)| *at > version && *of == kind);
                after.map(|(_, _, event, object)| (*event, Arc::clone(object))).collect()
            }
            Since::Now => inner.snapshot(kind).iter().map(|it| (EventType::Added, Arc::clone(it))).collect(),
        };
        for (event, object) in missed.into_iter().filter(|(_, object)| watch.covers(kind, object)) {
            // The receiver is held right here, so nothing can be lost.
            let _ = watch.messages.send(Message::Event(event, object));
        }
        inner.watches.push(watch);
        Ok(receiver)
    }

    /// The objects of a kind as of now, kept for further pages, and their version.
    pub(crate) fn open_listing(&self, kind: Kind) -> (u64, Snapshot) {
        let mut inner = self.inner();
        let version = inner.version;
        let snapshot = inner.snapshot(kind);
        inner.snapshots.insert((kind, version), Arc::clone(&snapshot));
        (version, snapshot)
    }

    /// The objects of a kind as of an earlier listing.
    pub(crate) fn listing(&self, kind: Kind, version: u64) -> Result<Snapshot, Status> {
        let inner = self.inner();
        if version == inner.version {
            return Ok(inner.snapshot(kind));
        }
        let kept = inner.snapshots.get(&(kind, version)).map(Arc::clone);
        kept.ok_or_else(|| Status::expired(version, inner.oldest))
    }
}

/// Returns true if an object of a listing is in `namespace`; every object is in `None`.
pub(crate) fn listed(kind: Kind, namespace: Option<&str>) -> impl Fn(&&Arc<Value>) -> bool + '_ {
    move |object| in_namespace(kind, object, namespace)
}

impl Objects {
    fn snapshot(&self, kind: Kind) -> Snapshot {
        self.objects.get(&kind).into_iter().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    fn tell(&mut self, message: impl Fn(&Watch) -> Option<Message>) {
        self.watches.retain(|watch| match message(watch) {
            Some(message) => watch.messages.send(message).is_ok(),
            None => !watch.messages.is_closed(),
        });
    }

    fn record(&mut self, kind: Kind, event: EventType, object: &Arc<Value>) {
        let version = self.version;
        self.changed.insert(kind, version);
        self.history.push_back((version, kind, event, Arc::clone(object)));
        while self.history.len() > self.capacity {
            if let Some((version, ..)) = self.history.pop_front() {
                self.oldest = version;
            }
        }
        self.tell(|watch| {
            let is_news = watch.after < version && watch.covers(kind, object);
            is_news.then(|| Message::Event(event, Arc::clone(object)))
        });
    }

    fn write(
        &mut self,
        kind: Kind,
        mut object: Value,
        same: Same,
        check: impl FnOnce(&Kind, &Key, Option<&Arc<Value>>) -> Result<(), Status>,
    ) -> Result<Value, Status> {
        let key = kind.key(&object).ok_or_else(|| Status::bad_request("metadata.name is missing"))?;
        let existing = self.objects.get(&kind).and_then(|objects| objects.get(&key)).map(Arc::clone);
        check(&kind, &key, existing.as_ref())?;
        if kind == SECRET {
            secret::normalize(&mut object)?;
        }
        let (version, created) = (self.version + 1, self.created + u64::from(existing.is_none()));
        stamp(&kind, &key.0, &mut object, existing.as_deref(), version, created);
        if let Some(existing) = &existing
            && same == Same::IsNothing
            && is_same(existing, &object)
        {
            return Ok((**existing).clone());
        }
        (self.version, self.created) = (version, created);
        let object = Arc::new(object);
        let event = if existing.is_some() { EventType::Modified } else { EventType::Added };
        self.objects.entry(kind).or_default().insert(key, Arc::clone(&object));
        self.record(kind, event, &object);
        Ok((*object).clone())
    }

    fn remove(&mut self, kind: Kind, key: &Key) -> Result<Value, Status> {
        let removed = self.objects.get_mut(&kind).and_then(|objects| objects.remove(key));
        let mut last = removed.ok_or_else(|| Status::not_found(&kind, &key.1))?;
        self.version += 1;
        if let Some(metadata) = Arc::make_mut(&mut last).get_mut("metadata") {
            metadata["resourceVersion"] = json!(self.version.to_string());
        }
        self.record(kind, EventType::Deleted, &last);
        Ok((*last).clone())
    }
}
