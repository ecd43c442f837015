//! Secrets and ConfigMaps, patches and selectors, as a client of `kube` sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses some of it")]
mod support;

use flock_testkit::{CONFIG_MAP, Kubelet, POD, SECRET, wait_until};
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::support::{server, status};

#[tokio::test]
async fn a_secret_is_written_as_text_and_read_as_bytes() {
    let (server, client) = server().await;
    let secrets: Api<Secret> = Api::namespaced(client, "a");
    let params = PostParams::default();
    let new = json!({
        "metadata": { "name": "s" },
        "data": { "key": "AAE=", "both": "AAE=" },
        "stringData": { "both": "text" },
    });
    let new: Secret = serde_json::from_value(new).unwrap();
    let mut created = secrets.create(&params, &new).await.unwrap();
    let data = created.data.clone().unwrap();
    assert_eq!(data["key"], ByteString(vec![0, 1]));
    assert_eq!(data["both"], ByteString(b"text".to_vec()));
    assert_eq!((created.string_data.clone(), created.type_.as_deref()), (None, Some("Opaque")));

    let stale = created.clone();
    created.string_data = Some([("new".to_owned(), "x".to_owned())].into());
    let replaced = secrets.replace("s", &params, &created).await.unwrap();
    assert_eq!(replaced.data.unwrap().len(), 3);
    let conflict = status(secrets.replace("s", &params, &stale).await);
    assert_eq!((conflict.code, &*conflict.reason), (409, "Conflict"));
    let refused = server.store().put(SECRET, json!({ "metadata": { "name": "t" }, "data": { "k": "%" } }));
    assert_eq!(refused.map_err(|status| status.code), Err(400));
    secrets.delete("s", &DeleteParams::default()).await.unwrap();
    assert_eq!(status(secrets.get("s").await).code, 404);
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names() {
    let (_server, client) = server().await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "a");
    let new = json!({ "metadata": { "name": "m" }, "data": { "a": "1", "b": "2" } });
    let new: ConfigMap = serde_json::from_value(new).unwrap();
    let created = maps.create(&PostParams::default(), &new).await.unwrap();
    let patch = |fields| Patch::Merge(fields);
    let params = PatchParams::default();
    let changed = maps.patch("m", &params, &patch(json!({ "data": { "a": null, "c": "3" } }))).await.unwrap();
    let expected = [("b", "2"), ("c", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(changed.data.unwrap(), expected.into());

    let version = created.metadata.resource_version.unwrap();
    let stale = patch(json!({ "metadata": { "resourceVersion": version }, "data": { "c": "4" } }));
    assert_eq!(status(maps.patch("m", &params, &stale).await).code, 409);
    assert_eq!(status(maps.patch("n", &params, &patch(json!({}))).await).code, 404);
    let strategic = Patch::Strategic(json!({}));
    assert_eq!(status(maps.patch("m", &params, &strategic).await).code, 415);
}

#[tokio::test]
async fn lists_are_narrowed_by_labels_and_names() {
    let (server, client) = server().await;
    for (name, app) in [("x", "web"), ("y", "web"), ("z", "db")] {
        let labels = json!({ "app": app });
        let pod = json!({ "metadata": { "namespace": "a", "name": name, "labels": labels }, "spec": { "containers": [] } });
        server.store().put(POD, pod).unwrap();
    }
    let pods: Api<Pod> = Api::all(client);
    let names = async |params: ListParams| {
        let list = pods.list(&params).await.unwrap();
        list.items.into_iter().map(|pod| pod.metadata.name.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names(ListParams::default().labels("app=web")).await, ["x", "y"]);
    assert_eq!(names(ListParams::default().labels("app!=web")).await, ["z"]);
    assert_eq!(names(ListParams::default().labels("app=web").fields("metadata.name=y")).await, ["y"]);
    let page = pods.list(&ListParams::default().labels("app=web").limit(1)).await.unwrap();
    assert_eq!(page.metadata.remaining_item_count, None, "with a selector it is unknown");
    assert!(page.metadata.continue_.is_some());
}

#[tokio::test]
async fn a_kubelet_reports_a_pod_s_address_some_time_after_it_was_bound() {
    let (server, client) = server().await;
    let address = |_: &str, name: &str| (name != "without").then(|| "10.0.0.9".parse().unwrap());
    let _kubelet = Kubelet::start(&server, "n1", std::time::Duration::from_millis(50), address);
    let mut told = Box::pin(Api::<Pod>::all(client).watch(&WatchParams::default(), "1").await.unwrap());
    for (name, node) in [("elsewhere", "n2"), ("without", "n1"), ("x", "n1")] {
        let metadata = json!({ "namespace": "a", "name": name });
        let pod = json!({ "metadata": metadata, "spec": { "containers": [], "nodeName": node } });
        server.store().put(POD, pod).unwrap();
    }
    let mut addresses = Vec::new();
    for _ in 0..4 {
        let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = told.next().await.unwrap().unwrap() else {
            panic!("neither new nor changed")
        };
        addresses.push((pod.metadata.name.unwrap(), pod.status.and_then(|status| status.pod_ip)));
    }
    let name = str::to_owned;
    let bound = ["elsewhere", "without", "x"].map(|it| (name(it), None));
    assert_eq!(addresses[..3], bound);
    assert_eq!(addresses[3], (name("x"), Some(name("10.0.0.9"))));
}

#[tokio::test]
async fn one_object_is_watched_by_its_name() {
    let (server, client) = server().await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "a");
    let params = WatchParams::default().fields("metadata.name=ca");
    let mut events = Box::pin(maps.watch(&params, "0").await.unwrap());
    wait_until("the watch is open", || server.store().watches(CONFIG_MAP) == 1).await.unwrap();
    for name in ["other", "ca"] {
        server.store().put(CONFIG_MAP, json!({ "metadata": { "namespace": "a", "name": name } })).unwrap();
    }
    match events.next().await.unwrap().unwrap() {
        WatchEvent::Added(map) => assert_eq!(map.metadata.name.as_deref(), Some("ca")),
        other => panic!("{other:?}"),
    }
}
