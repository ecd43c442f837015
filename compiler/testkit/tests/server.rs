//! The server as a client of `kube` sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use flock_testkit::{ApiServer, Cut, Delivery, Expiry, Failure, NAMESPACE, POD, Verb, wait_until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::Status;
use kube::{Client, Error};
use serde_json::{Value, json};

async fn server() -> (ApiServer, Client) {
    let server = ApiServer::start().await.unwrap();
    let mut config = server.config();
    config.default_retry = false;
    let client = Client::try_from(config).unwrap();
    (server, client)
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "namespace": "a", "name": name }, "spec": { "containers": [] } })
}

fn status<T: std::fmt::Debug>(result: Result<T, Error>) -> Status {
    match result {
        Err(Error::Api(status)) => *status,
        other => panic!("expected a status, got {other:?}"),
    }
}

/// Names and types of the next events; the code of an ERROR; the version of a BOOKMARK.
async fn events(pods: &Api<Pod>, params: &WatchParams, version: &str, count: usize) -> Vec<String> {
    let stream = pods.watch(params, version).await.unwrap();
    let name = |pod: Pod| pod.metadata.name.unwrap_or_default();
    let text = |event| match event {
        WatchEvent::Added(pod) => format!("ADDED {}", name(pod)),
        WatchEvent::Modified(pod) => format!("MODIFIED {}", name(pod)),
        WatchEvent::Deleted(pod) => format!("DELETED {}", name(pod)),
        WatchEvent::Bookmark(bookmark) => format!("BOOKMARK {}", bookmark.metadata.resource_version),
        WatchEvent::Error(status) => format!("ERROR {}", status.code),
    };
    stream.take(count).map_ok(text).try_collect().await.unwrap()
}

#[tokio::test]
async fn objects_are_created_read_updated_and_deleted() {
    let (server, client) = server().await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "a");
    let params = PostParams::default();
    let new: Pod = serde_json::from_value(pod("x")).unwrap();
    let created = pods.create(&params, &new).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    assert!(created.metadata.uid.is_some() && created.metadata.managed_fields.is_some());
    assert_eq!(status(pods.create(&params, &new).await).reason, "AlreadyExists");

    let mut changed = created.clone();
    changed.metadata.labels = Some([("k".to_owned(), "v".to_owned())].into());
    let updated = pods.replace("x", &params, &changed).await.unwrap();
    assert_eq!(updated.metadata.uid, created.metadata.uid);
    assert_eq!(updated.metadata.generation, Some(1), "the spec is the same");
    let conflict = status(pods.replace("x", &params, &changed).await);
    assert_eq!((conflict.code, &*conflict.reason), (409, "Conflict"));

    assert_eq!(pods.get("x").await.unwrap(), updated);
    assert!(pods.delete("x", &DeleteParams::default()).await.is_ok());
    assert_eq!(status(pods.get("x").await).code, 404);
    let other: Api<Namespace> = Api::all(client);
    assert_eq!(status(other.get("a").await).details.unwrap().kind, "namespaces");
    assert_eq!((server.requests(POD, Verb::Create), server.requests(NAMESPACE, Verb::Get)), (2, 1));
}

#[tokio::test]
async fn pages_are_of_one_version_until_it_is_compacted() {
    let (server, client) = server().await;
    for name in ["p1", "p2", "p3", "p4", "p5"] {
        server.store().put(POD, pod(name)).unwrap();
    }
    let pods: Api<Pod> = Api::all(client);
    let first = pods.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (2, Some(3)));
    assert_eq!(first.types.kind, "PodList");
    server.store().put(POD, pod("p0")).unwrap();
    let token = first.metadata.continue_.unwrap();
    let second = pods.list(&ListParams::default().limit(9).continue_token(&token)).await.unwrap();
    assert_eq!(second.items.len(), 3);
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    assert_eq!(second.metadata.continue_, None);

    server.store().compact();
    let gone = status(pods.list(&ListParams::default().limit(9).continue_token(&token)).await);
    assert_eq!((gone.code, &*gone.reason), (410, "Expired"));
}

#[tokio::test]
async fn lists_are_of_the_version_that_is_asked_for() {
    let (server, client) = server().await;
    server.store().put(POD, pod("x")).unwrap();
    let current = server.store().version();
    let pods: Api<Pod> = Api::all(client);
    let at = |version: u64| ListParams::default().at(&version.to_string());
    use kube::api::VersionMatch::{Exact, NotOlderThan};
    assert_eq!(pods.list(&at(0).matching(NotOlderThan)).await.unwrap().items.len(), 1);
    assert_eq!(pods.list(&at(current).matching(Exact)).await.unwrap().items.len(), 1);
    let ahead = status(pods.list(&at(current + 1).matching(NotOlderThan)).await);
    assert_eq!((ahead.code, ahead.details.unwrap().retry_after_seconds), (504, 1));
    server.store().put(POD, pod("y")).unwrap();
    server.store().compact();
    assert_eq!(status(pods.list(&at(current).matching(Exact)).await).code, 410);
}

#[tokio::test]
async fn watches_start_at_a_version_or_with_all_objects() {
    let (server, client) = server().await;
    let store = server.store();
    store.put(POD, pod("x")).unwrap();
    let version = store.version().to_string();
    store.put(POD, pod("y")).unwrap();
    store.put(POD, pod("x")).unwrap();
    store.remove(POD, "a", "y").unwrap();
    let pods: Api<Pod> = Api::all(client.clone());
    let params = WatchParams::default();
    assert_eq!(events(&pods, &params, &version, 3).await, ["ADDED y", "MODIFIED x", "DELETED y"]);
    assert_eq!(events(&pods, &params, "0", 1).await, ["ADDED x"]);
    let elsewhere: Api<Pod> = Api::namespaced(client, "b");
    let end = WatchParams::default().timeout(1);
    assert_eq!(events(&elsewhere, &end, "0", 1).await, [""; 0], "ended by its time limit");
}

#[tokio::test]
async fn bookmarks_tell_the_version_to_those_who_asked() {
    let (server, client) = server().await;
    let pods: Api<Pod> = Api::all(client);
    let version = server.store().version().to_string();
    let (with, without) = (WatchParams::default(), WatchParams::default().disable_bookmarks());
    let tell = async {
        wait_until("both are open", || server.store().watches(POD) == 2).await.unwrap();
        server.store().bookmark();
        server.store().put(POD, pod("x")).unwrap();
    };
    let (told, other, ()) =
        futures::join!(events(&pods, &with, &version, 2), events(&pods, &without, &version, 1), tell);
    assert_eq!(told, [format!("BOOKMARK {version}"), "ADDED x".to_owned()]);
    assert_eq!(other, ["ADDED x"]);
}

#[tokio::test]
async fn a_forgotten_version_is_gone_in_both_forms() {
    let (server, client) = server().await;
    let version = server.store().version().to_string();
    server.store().put(POD, pod("x")).unwrap();
    server.store().compact();
    let pods: Api<Pod> = Api::all(client);
    assert_eq!(events(&pods, &WatchParams::default(), &version, 9).await, ["ERROR 410"]);
    server.faults().expire_with(Expiry::Response);
    let answer = pods.watch(&WatchParams::default(), &version).await.map(|_| ());
    assert_eq!(status(answer).code, 410);
}

#[tokio::test]
async fn streaming_lists_are_refused() {
    let (_server, client) = server().await;
    let pods: Api<Pod> = Api::all(client);
    let answer = pods.watch(&WatchParams::default().initial_events(), "0").await.map(|_| ());
    let refused = status(answer);
    assert_eq!((refused.code, &*refused.reason), (422, "Invalid"));
}

#[tokio::test]
async fn what_is_not_implemented_is_refused() {
    let (_server, client) = server().await;
    let pods: Api<Pod> = Api::all(client.clone());
    assert_eq!(status(pods.list(&ListParams::default().labels("a in (b)")).await).code, 400);
    assert_eq!(status(pods.watch(&WatchParams::default().labels("a=b"), "0").await.map(drop)).code, 400);
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::all(client);
    assert_eq!(status(events.list(&ListParams::default()).await).code, 404);
}

#[tokio::test]
async fn failures_are_used_up() {
    let (server, client) = server().await;
    server.faults().fail(POD, Verb::List, Failure { code: 429, retry_after: Some(7) }, 1);
    let pods: Api<Pod> = Api::all(client);
    let busy = status(pods.list(&ListParams::default()).await);
    assert_eq!((busy.code, busy.details.unwrap().retry_after_seconds), (429, 7));
    assert!(pods.list(&ListParams::default()).await.is_ok());
}

#[tokio::test]
async fn cuts_come_in_the_middle_and_absence_is_refusal() {
    let (server, client) = server().await;
    let pods: Api<Pod> = Api::all(client);
    for cut in [Cut::Close, Cut::Reset] {
        let mut stream = Box::pin(pods.watch(&WatchParams::default(), "0").await.unwrap());
        server.store().cut_watches(cut);
        assert!(!matches!(stream.next().await, Some(Ok(_))), "{cut:?}");
    }
    server.go_away();
    assert!(pods.list(&ListParams::default()).await.is_err());
    server.come_back();
    server.faults().deliver(Delivery::Pieces { size: 3, pause: std::time::Duration::ZERO });
    assert!(pods.list(&ListParams::default()).await.is_ok());
}
