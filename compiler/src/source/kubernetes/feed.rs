//! What listings and watch events of one kind say about the cluster, as source events. Pure.
//!
//! An object that cannot be converted changes nothing: what was last said of it stays in force, and it is reported
//! until it can be converted again or is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use flock_compiler_core::{Change, Consequence, Edit, Problem};
use tokio::time::Instant;

use super::ORIGIN;
use super::failure::Absence;
use super::raw::RawObject;
use super::watched::Watched;
use crate::source::{KindProgress, Reached, SourceEvent, Version};
use flock_convert::Converter;

/// All objects of a kind at one version, converted while the pages come in.
pub(super) struct Listing<W: Watched> {
    objects: Vec<W>,
    broken: Vec<Broken<W>>,
    /// The newest version of an object; `None` once there is one that compares with nothing.
    newest: Option<Version>,
}

/// An object that cannot be converted.
struct Broken<W: Watched> {
    /// `None` if not even its name can be understood.
    key: Option<W::Key>,
    input: Arc<str>,
    problems: Vec<Problem>,
}

/// What was said of a kind so far. Holds keys only: the objects are the receiver's.
pub(super) struct KindFeed<W: Watched> {
    converter: Converter,
    known: BTreeSet<W::Key>,
    /// The inputs that are reported at present.
    reported: BTreeSet<Arc<str>>,
}

impl<W: Watched> KindFeed<W> {
    pub(super) fn new(converter: Converter) -> Self {
        Self { converter, known: BTreeSet::new(), reported: BTreeSet::new() }
    }

    /// An empty listing.
    pub(super) fn listing() -> Listing<W> {
        Listing { objects: Vec::new(), broken: Vec::new(), newest: Some(Version::default()) }
    }

    /// Adds an object to a listing that is under way.
    pub(super) fn list(&self, listing: &mut Listing<W>, raw: &RawObject) {
        listing.newest = listing.newest.and_then(|newest| Some(newest.max(comparable(raw.version())?)));
        match self.convert(raw) {
            Ok(object) => listing.objects.push(object),
            Err(broken) => listing.broken.push(broken),
        }
    }

    /// The listing is complete at `version`: what it does not hold is gone.
    pub(super) fn replace(&mut self, listing: Listing<W>, version: &str) -> Vec<SourceEvent> {
        let Listing { objects, broken, newest } = listing;
        let kept: BTreeSet<W::Key> = broken
            .iter()
            .filter_map(|broken| broken.key.clone())
            .filter(|key| self.known.contains(key))
            .collect();
        let listed: BTreeSet<W::Key> =
            objects.iter().map(|object| object.key().clone()).chain(kept.clone()).collect();
        let mut gone = self.known.difference(&listed).peekable();
        // Nothing says when it went, but other replicas must not bring it back.
        let newest = if gone.peek().is_some() { comparable(Some(version)) } else { newest };
        let reached = match (newest, comparable(Some(version))) {
            (Some(newest), Some(through)) => Reached::Listing { newest, through },
            _ => Reached::Somewhere,
        };
        let changes = if kept.is_empty() {
            vec![W::change(Edit::Replace(objects))]
        } else {
            // A `Replace` would take what is kept away, so the difference is told.
            let gone = gone.cloned().map(Edit::Delete);
            objects.into_iter().map(Edit::Upsert).chain(gone).map(W::change).collect()
        };
        self.known = listed;
        let mut said = vec![changed::<W>(changes, reached)];

        // After the objects: a report that is cleared too early would say that all is well before it is.
        let mended = std::mem::take(&mut self.reported);
        let reports: Vec<SourceEvent> = broken.into_iter().map(|broken| self.report(broken)).collect();
        said.extend(mended.difference(&self.reported).map(cleared));
        said.extend(reports);
        said
    }

    /// The kind cannot be had, and the cluster may do without it. What was read of one that may not be read any more stays
    /// in force.
    pub(super) fn absent(&mut self, absence: Absence) -> Vec<SourceEvent> {
        let input: Arc<str> = format!("{ORIGIN} {}", W::KIND).into();
        if !self.reported.insert(Arc::clone(&input)) {
            return Vec::new();
        }
        let message = match absence {
            Absence::Unknown => "is not served: its CustomResourceDefinition is missing",
            Absence::Forbidden => "may not be read: the right to list and watch it is missing",
        };
        let problem = Problem {
            object: W::KIND.to_string(),
            namespace: None,
            origin: Some(ORIGIN.into()),
            field: String::new(),
            message: format!("the kind {message}"),
            consequence: Consequence::Told,
        };
        let mut said = Vec::new();
        if absence == Absence::Unknown || self.known.is_empty() {
            self.known.clear();
            said.push(changed::<W>(vec![W::change(Edit::Replace(Vec::new()))], Reached::Somewhere));
        }
        said.push(SourceEvent::Report { input, problems: vec![problem] });
        said
    }

    /// An object was added, or is now this.
    pub(super) fn apply(&mut self, raw: &RawObject) -> Vec<SourceEvent> {
        match self.convert(raw) {
            Ok(object) => {
                self.known.insert(object.key().clone());
                let mut said = vec![changed::<W>(vec![W::change(Edit::Upsert(object))], event(raw))];
                said.extend(self.mend(raw));
                said
            }
            // Its version counts as read all the same: agents of other replicas would else wait for it in vain.
            Err(broken) => vec![changed::<W>(Vec::new(), event(raw)), self.report(broken)],
        }
    }

    /// An object is gone.
    pub(super) fn delete(&mut self, raw: &RawObject) -> Vec<SourceEvent> {
        // By its name alone: what is deleted need not be convertible any more.
        let known = W::key_of(raw).ok().and_then(|key| self.known.take(&key));
        let changes = known.map(|key| W::change(Edit::Delete(key))).into_iter().collect();
        // Also of what was not known here: the version counts as read.
        let mut said = vec![changed::<W>(changes, event(raw))];
        said.extend(self.mend(raw));
        said
    }

    /// Nothing happened up to `version`.
    pub(super) fn bookmark(version: &str) -> SourceEvent {
        changed::<W>(Vec::new(), comparable(Some(version)).map_or(Reached::Somewhere, Reached::Bookmark))
    }

    /// The store was at a version when it was asked.
    pub(super) fn store(at: Version, asked: Instant) -> SourceEvent {
        changed::<W>(Vec::new(), Reached::Store { at, asked })
    }

    fn convert(&self, raw: &RawObject) -> Result<W, Broken<W>> {
        W::convert(&self.converter, &raw.0).map_err(|error| Broken {
            key: W::key_of(raw).ok(),
            input: input::<W>(raw),
            problems: error.problems(Consequence::PreviousKept),
        })
    }

    fn report(&mut self, broken: Broken<W>) -> SourceEvent {
        self.reported.insert(Arc::clone(&broken.input));
        SourceEvent::Report { input: broken.input, problems: broken.problems }
    }

    fn mend(&mut self, raw: &RawObject) -> Option<SourceEvent> {
        // The name of the input is not worth writing for every object while nothing is reported.
        if self.reported.is_empty() {
            return None;
        }
        self.reported.take(&input::<W>(raw)).as_ref().map(cleared)
    }
}

fn changed<W: Watched>(changes: Vec<Change>, reached: Reached) -> SourceEvent {
    let progress = Some(KindProgress { kind: W::KIND, reached });
    SourceEvent::Changes { changes, progress, observed: Instant::now() }
}

fn comparable(version: Option<&str>) -> Option<Version> {
    version?.parse().ok()
}

/// What the version of a watch event's object says.
fn event(raw: &RawObject) -> Reached {
    comparable(raw.version()).map_or(Reached::Somewhere, Reached::Event)
}

fn cleared(input: &Arc<str>) -> SourceEvent {
    SourceEvent::Report { input: Arc::clone(input), problems: Vec::new() }
}

/// What an object is called in reports; safe to print.
fn input<W: Watched>(raw: &RawObject) -> Arc<str> {
    let name = raw.name().escape_debug();
    match raw.namespace() {
        Some(namespace) => format!("{ORIGIN} {} {}/{name}", W::KIND, namespace.escape_debug()).into(),
        None => format!("{ORIGIN} {} {name}", W::KIND).into(),
    }
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::Change;
    use flock_compiler_core::object::Pod;
    use serde_json::json;

    use super::*;
    use crate::source::Kind;
    use flock_convert::HostInterfaces;

    fn feed() -> KindFeed<Pod> {
        KindFeed::new(Converter::new(ORIGIN, HostInterfaces::None))
    }

    fn pod(name: &str) -> RawObject {
        pod_at(name, "3")
    }

    fn pod_at(name: &str, version: &str) -> RawObject {
        RawObject(json!({ "metadata": { "namespace": "a", "name": name, "resourceVersion": version } }))
    }

    fn broken(name: &str) -> RawObject {
        RawObject(
            json!({ "metadata": { "namespace": "a", "name": name, "labels": 7, "resourceVersion": "4" } }),
        )
    }

    fn list(feed: &mut KindFeed<Pod>, objects: &[RawObject], version: &str) -> Vec<SourceEvent> {
        let mut listing = KindFeed::listing();
        objects.iter().for_each(|raw| feed.list(&mut listing, raw));
        feed.replace(listing, version)
    }

    fn replace(feed: &mut KindFeed<Pod>, objects: &[RawObject]) -> Vec<String> {
        told(&list(feed, objects, "5"))
    }

    /// What was said, in short.
    fn told(events: &[SourceEvent]) -> Vec<String> {
        let short = |change: &Change| match change {
            Change::Pod(Edit::Upsert(pod)) => format!("+{}", pod.key),
            Change::Pod(Edit::Delete(key)) => format!("-{key}"),
            Change::Pod(Edit::Replace(pods)) => {
                format!("={}", pods.iter().map(|pod| pod.key.to_string()).collect::<Vec<_>>().join(","))
            }
            other => panic!("not of a pod: {other:?}"),
        };
        let line = |event: &SourceEvent| match event {
            SourceEvent::Changes { changes, .. } => changes.iter().map(short).collect::<Vec<_>>().join(" "),
            SourceEvent::Report { input, problems } => format!("{input}: {}", problems.len()),
        };
        events.iter().map(line).filter(|line| !line.is_empty()).collect()
    }

    /// How far pods have been read with what was said.
    fn reached(events: &[SourceEvent]) -> Reached {
        let SourceEvent::Changes { progress: Some(progress), .. } = &events[0] else { panic!("{events:?}") };
        assert_eq!(progress.kind, Kind::Pod);
        progress.reached
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn everything_says_how_far_the_kind_was_read() {
        let mut feed = feed();
        let listing =
            |newest, through| Reached::Listing { newest: version(newest), through: version(through) };
        assert_eq!(reached(&list(&mut feed, &[], "5")), listing("0", "5"));
        let both = [pod_at("x", "9"), pod_at("y", "10")];
        assert_eq!(reached(&list(&mut feed, &both, "20")), listing("10", "20"));
        assert_eq!(reached(&list(&mut feed, &both, "30")), listing("10", "30"));
        assert_eq!(reached(&list(&mut feed, &both[..1], "40")), listing("40", "40"), "one is gone since");
        assert_eq!(reached(&feed.apply(&pod_at("x", "41"))), Reached::Event(version("41")));
        assert_eq!(reached(&feed.apply(&broken("x"))), Reached::Event(version("4")));
        assert_eq!(reached(&feed.delete(&pod_at("x", "42"))), Reached::Event(version("42")));
        assert_eq!(reached(&feed.delete(&pod_at("x", "42"))), Reached::Event(version("42")), "unknown");
        assert_eq!(reached(&[KindFeed::<Pod>::bookmark("50")]), Reached::Bookmark(version("50")));

        assert_eq!(reached(&feed.apply(&pod_at("x", "r5"))), Reached::Somewhere);
        assert_eq!(reached(&list(&mut feed, &both, "r6")), Reached::Somewhere);
        assert_eq!(reached(&list(&mut feed, &[pod_at("x", "r5"), pod("y")], "60")), Reached::Somewhere);
        assert_eq!(reached(&[KindFeed::<Pod>::bookmark("r7")]), Reached::Somewhere);
    }

    #[test]
    fn a_broken_object_keeps_its_last_state_and_is_reported_until_mended() {
        let mut feed = feed();
        assert_eq!(replace(&mut feed, &[pod("x"), pod("y")]), ["=a/x,a/y"]);
        assert_eq!(told(&feed.apply(&broken("x"))), ["kubernetes Pod a/x: 1"]);
        assert_eq!(replace(&mut feed, &[broken("x"), pod("z")]), ["+a/z -a/y", "kubernetes Pod a/x: 1"]);
        assert_eq!(told(&feed.apply(&pod("x"))), ["+a/x", "kubernetes Pod a/x: 0"]);
        assert_eq!(told(&feed.apply(&pod("x"))), ["+a/x"]);
    }

    #[test]
    fn a_broken_object_that_was_never_known_is_left_out() {
        let mut feed = feed();
        assert_eq!(replace(&mut feed, &[broken("x"), pod("y")]), ["=a/y", "kubernetes Pod a/x: 1"]);
        assert_eq!(told(&feed.delete(&broken("x"))), ["kubernetes Pod a/x: 0"]);
    }

    #[test]
    fn a_listing_clears_the_reports_of_what_is_gone_or_mended() {
        let mut feed = feed();
        replace(&mut feed, &[broken("x"), broken("y")]);
        assert_eq!(
            replace(&mut feed, &[pod("y")]),
            ["=a/y", "kubernetes Pod a/x: 0", "kubernetes Pod a/y: 0"]
        );
    }

    #[test]
    fn an_unknown_object_is_not_deleted() {
        let mut feed = feed();
        replace(&mut feed, &[pod("x")]);
        assert_eq!(told(&feed.delete(&pod("y"))), [""; 0]);
        assert_eq!(told(&feed.delete(&pod("x"))), ["-a/x"]);
        assert_eq!(told(&feed.delete(&pod("x"))), [""; 0]);
    }
}
