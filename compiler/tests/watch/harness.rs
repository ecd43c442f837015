//! A server, a source that watches it, and what the source has told so far.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::source::kubernetes::{KubernetesSource, Statistics, WatchSettings, client};
use flock_compiler::source::{Source, SourceError, SourceEvent};
use flock_compiler_core::change::Object;
use flock_compiler_core::{Change, Edit, Problem};
use flock_convert::{Converter, HostInterfaces};
use flock_shared::backoff::Backoff;
use flock_testkit::{ApiServer, Kind, NAMESPACE, NETWORK_POLICY, NODE, NODE_PODS, POD};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::objects::{namespace, node, node_pods, pod, policy};

/// The kinds that the source watches.
pub(super) const WATCHED: [Kind; 5] = [NODE, NAMESPACE, POD, NETWORK_POLICY, NODE_PODS];

/// A kind that nobody watches: its changes make the version move unseen.
const UNWATCHED: Kind =
    Kind { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps", namespaced: true };

/// Objects as text, by kind and key.
type Told = BTreeMap<String, String>;

/// Far beyond what a slow machine needs.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Cluster {
    pub(super) server: ApiServer,
    pub(super) statistics: Arc<Statistics>,
    source: JoinHandle<Result<(), SourceError>>,
    events: mpsc::Receiver<SourceEvent>,
    told: Told,
    /// Kinds whose first listing was told.
    listed: BTreeSet<&'static str>,
    /// Objects that were told and then taken back, in order.
    vanished: Vec<String>,
    /// Problems by input.
    reports: BTreeMap<Arc<str>, Vec<Problem>>,
    marks: usize,
}

/// An object's kind and key, and all of it, as text.
fn entry<T: Object<Key: Display>>(kind: &str, object: &T) -> (String, String) {
    (format!("{kind} {}", object.key()), format!("{object:?}"))
}

pub(super) fn settings() -> WatchSettings {
    WatchSettings {
        page_size: 7,
        backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(50)),
        ..WatchSettings::default()
    }
}

/// A server with a few objects of each kind.
pub(super) async fn server() -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    let put = |kind, object| drop(server.store().put(kind, object).unwrap());
    put(NODE, node("n1"));
    put(NAMESPACE, namespace("a"));
    put(NAMESPACE, namespace("b"));
    for last in 1..=20 {
        put(POD, pod(if last % 2 == 0 { "a" } else { "b" }, &format!("p{last}"), last));
    }
    put(NETWORK_POLICY, policy("a", "allow", "p2"));
    server
}

impl Cluster {
    /// A source that has told everything of a few objects and watches on.
    pub(super) async fn settled() -> Self {
        let mut cluster = Self::watch(server().await, settings());
        cluster.settle().await;
        cluster
    }

    /// A source that watches `server`.
    pub(super) fn watch(server: ApiServer, settings: WatchSettings) -> Self {
        let address = server.address();
        Self::watch_at(server, address, settings)
    }

    /// A source that watches `server` at this address.
    pub(super) fn watch_at(server: ApiServer, address: SocketAddr, settings: WatchSettings) -> Self {
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        Self::watch_by(server, config, settings)
    }

    /// A source that watches `server` in this way.
    pub(super) fn watch_by(server: ApiServer, config: kube::Config, settings: WatchSettings) -> Self {
        let client = client(config).unwrap();
        let source = KubernetesSource::with_settings(client, HostInterfaces::None, settings);
        let statistics = source.statistics();
        // A small channel, so that the watches have to wait for the receiver.
        let (sender, events) = mpsc::channel(2);
        Self {
            server,
            statistics,
            source: tokio::spawn(source.run(sender)),
            events,
            told: Told::new(),
            listed: BTreeSet::new(),
            vanished: Vec::new(),
            reports: BTreeMap::new(),
            marks: 0,
        }
    }

    pub(super) fn put(&self, kind: Kind, object: Value) {
        self.server.store().put(kind, object).unwrap();
    }

    pub(super) fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        self.server.store().remove(kind, namespace, name).unwrap();
    }

    /// Lets the version move without any watch noticing.
    pub(super) fn move_version(&self) {
        self.put(UNWATCHED, json!({ "metadata": { "namespace": "a", "name": "c" } }));
    }

    /// Waits until what was told is what the server has, also after one more change of each kind: since a watch
    /// keeps its order, whatever it had still to tell was told before.
    pub(super) async fn settle(&mut self) {
        self.until_equal().await;
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        self.put(NODE, node(&mark));
        self.put(NAMESPACE, namespace(&mark));
        self.put(POD, pod("a", &mark, 200));
        self.put(NETWORK_POLICY, policy("a", &mark, "none"));
        self.put(NODE_PODS, node_pods(&mark, 200));
        self.until_equal().await;
    }

    async fn until_equal(&mut self) {
        self.until("all is told that the server has", |it| {
            it.told == it.wanted() && it.listed.len() == WATCHED.len()
        })
        .await;
    }

    /// Takes what is told until `holds`.
    pub(super) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        while !holds(self) {
            // Not all conditions are about events, so they are looked at now and then.
            let glance = tokio::time::timeout(Duration::from_millis(5), self.events.recv()).await;
            match glance {
                Ok(Some(event)) => self.fold(event),
                Ok(None) => panic!("the source ended"),
                Err(_) => {}
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain until {what}; told and wanted differ in {:#?}; reported: {:?}",
                self.differences(),
                self.reports
            );
        }
    }

    fn fold(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Changes { changes, .. } => changes.into_iter().for_each(|change| match change {
                Change::Node(edit) => self.edit("Node", edit),
                Change::Namespace(edit) => self.edit("Namespace", edit),
                Change::Pod(edit) => self.edit("Pod", edit),
                Change::Policy(edit) => self.edit("NetworkPolicy", edit),
                Change::NodePods(edit) => self.edit("NodePods", edit),
                Change::Facts(edit) => panic!("no source knows of {edit:?}"),
                Change::Overdue(edit) => panic!("no source knows of {edit:?}"),
            }),
            SourceEvent::Report { input, problems } if problems.is_empty() => {
                assert!(self.reports.remove(&input).is_some(), "{input} was not reported");
            }
            SourceEvent::Report { input, problems } => {
                self.reports.insert(input, problems);
            }
        }
    }

    fn edit<T: Object<Key: Display>>(&mut self, kind: &'static str, edit: Edit<T>) {
        let name = |key: &T::Key| format!("{kind} {key}");
        let entry = |object: &T| entry(kind, object);
        match edit {
            Edit::Replace(objects) => {
                let objects: Told = objects.iter().map(entry).collect();
                let of_kind = |key: &&String| key.split(' ').next() == Some(kind);
                let gone: Vec<String> = self
                    .told
                    .keys()
                    .filter(of_kind)
                    .filter(|key| !objects.contains_key(*key))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| drop(self.told.remove(key)));
                self.vanished.extend(gone);
                self.told.extend(objects);
                self.listed.insert(kind);
            }
            Edit::Upsert(object) => {
                assert!(self.listed.contains(kind), "{kind} was told before it was listed");
                self.told.extend([entry(&object)]);
            }
            Edit::Delete(key) => {
                assert!(self.listed.contains(kind), "{kind} was told before it was listed");
                self.told.remove(&name(&key)).expect("what is deleted was told before");
                self.vanished.push(name(&key));
            }
        }
    }

    /// What the server's objects come to. Broken ones come to nothing.
    fn wanted(&self) -> Told {
        let converter = Converter::new("kubernetes", HostInterfaces::None);
        let mut wanted = Told::new();
        for kind in WATCHED {
            for value in self.server.store().all(kind) {
                let converted = match kind.kind {
                    "Node" => converter.node(&value).map(|it| entry(kind.kind, &it)),
                    "Namespace" => converter.namespace(&value).map(|it| entry(kind.kind, &it)),
                    "Pod" => converter.pod(&value).map(|it| entry(kind.kind, &it)),
                    "NodePods" => converter.node_pods(&value).map(|it| entry(kind.kind, &it)),
                    _ => converter.policy(&value).map(|it| entry(kind.kind, &it)),
                };
                wanted.extend(converted);
            }
        }
        wanted
    }

    fn differences(&self) -> BTreeMap<String, [Option<String>; 2]> {
        let wanted = self.wanted();
        let keys: BTreeSet<&String> = self.told.keys().chain(wanted.keys()).collect();
        let both = |key: &String| [self.told.get(key).cloned(), wanted.get(key).cloned()];
        keys.into_iter()
            .map(|key| (key.clone(), both(key)))
            .filter(|(_, [told, wanted])| told != wanted)
            .collect()
    }

    /// What was told of an object.
    pub(super) fn told(&self, key: &str) -> Option<&str> {
        self.told.get(key).map(String::as_str)
    }

    /// The kinds whose first listing was told, in order.
    pub(super) fn listed(&self) -> Vec<&'static str> {
        self.listed.iter().copied().collect()
    }

    /// What was told and then taken back, each once and in order.
    pub(super) fn vanished(&self) -> Vec<&str> {
        let ordered: BTreeSet<&str> = self.vanished.iter().map(String::as_str).collect();
        assert_eq!(ordered.len(), self.vanished.len(), "taken back more than once: {:?}", self.vanished);
        ordered.into_iter().collect()
    }

    /// The inputs that are reported.
    pub(super) fn reported(&self) -> Vec<String> {
        self.reports.keys().map(ToString::to_string).collect()
    }

    /// Waits until all kinds are watched again.
    pub(super) async fn until_watched(&mut self) {
        self.until("all kinds are watched", |it| {
            WATCHED.iter().all(|kind| it.server.store().watches(*kind) == 1)
        })
        .await;
    }

    /// How many listings were read completely, by kind.
    pub(super) fn listings(&self) -> [u64; 5] {
        self.statistics.kinds().map(|(_, kind)| kind.listings())
    }

    /// How often a version had expired, by kind.
    pub(super) fn expirations(&self) -> [u64; 5] {
        self.statistics.kinds().map(|(_, kind)| kind.expirations())
    }

    /// Stops receiving, and what the source says to that.
    pub(super) async fn close(self) -> (ApiServer, Result<(), SourceError>) {
        drop(self.events);
        (self.server, tokio::time::timeout(LIMIT, self.source).await.unwrap().unwrap())
    }

    /// Drops the running source.
    pub(super) async fn abort(self) -> ApiServer {
        self.source.abort();
        assert!(self.source.await.unwrap_err().is_cancelled());
        self.server
    }
}
