//! Objects of a kind that a CustomResourceDefinition makes: `NodePods`, as the manifest defines them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agreed;
use crate::site::{Site, short, version};

agreed!(
    what_the_schema_does_not_know_is_pruned,
    what_breaks_the_schema_is_refused,
    they_are_changed_by_version_only,
    they_are_listed_and_watched_with_their_type,
);

const ALL: &str = "/apis/flock.netpol/v1alpha1/nodepods";
const MANIFEST: &str = include_str!("../../../../deploy/kubernetes/install.yaml");

/// Has a real server serve the kind. Who finds that another test has done it waits until it is served, too.
async fn defined(site: &Site) {
    if site.is_here() {
        return;
    }
    let objects: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).unwrap();
    let definition = objects.into_iter().find(|object| object["kind"] == "CustomResourceDefinition").unwrap();
    let made = site.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    assert!(matches!(made.code, 201 | 409), "{made:?}");
    for _ in 0..300 {
        if site.get(ALL).await.code == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the kind is not served");
}

fn sandbox(id: &str) -> Value {
    json!({ "id": id, "namespace": "shop", "name": "web", "uid": "u", "addresses": ["10.0.0.1"] })
}

fn node_pods(site: &Site, sandboxes: &[Value]) -> Value {
    json!({
        "apiVersion": "flock.netpol/v1alpha1", "kind": "NodePods",
        "metadata": { "name": site.suffix }, "spec": { "sandboxes": sandboxes },
    })
}

fn path(site: &Site) -> String {
    format!("{ALL}/{}", site.suffix)
}

async fn end(site: &Site) {
    assert_eq!(site.delete(&path(site)).await.code, 200);
    assert_eq!(site.get(&path(site)).await.refusal(), (404, "NotFound"));
}

async fn what_the_schema_does_not_know_is_pruned(site: &Site) {
    defined(site).await;
    let mut sandbox = sandbox("a");
    let plain = sandbox.clone();
    sandbox["odd"] = json!(1);
    let mut object = node_pods(site, &[sandbox]);
    object["spec"]["more"] = json!({ "x": 1 });
    object["status"] = json!({ "x": 1 });
    let made = site.post(ALL, object).await;
    assert_eq!(made.code, 201);
    let made = made.object();
    assert_eq!((&made["spec"], made.get("status")), (&json!({ "sandboxes": [plain] }), None));
    assert_eq!((&made["kind"], &made["metadata"]["generation"]), (&json!("NodePods"), &json!(1)));
    assert_eq!(site.get(&path(site)).await.object(), made);
    end(site).await;
}

async fn what_breaks_the_schema_is_refused(site: &Site) {
    defined(site).await;
    let too_many: Vec<Value> = (0..1025).map(|number| sandbox(&number.to_string())).collect();
    let without_uid = json!({ "id": "a", "namespace": "shop", "name": "web" });
    let of_a_number = json!({ "id": 7, "namespace": "shop", "name": "web", "uid": "u" });
    for sandboxes in [&too_many[..], &[without_uid], &[of_a_number], &[sandbox(&"x".repeat(129))]] {
        assert_eq!(site.post(ALL, node_pods(site, sandboxes)).await.refusal(), (422, "Invalid"));
    }
    assert_eq!(site.get(&path(site)).await.code, 404);
}

async fn they_are_changed_by_version_only(site: &Site) {
    defined(site).await;
    let made = site.post(ALL, node_pods(site, &[])).await.object();
    let blind = node_pods(site, &[sandbox("a")]);
    assert_eq!(site.put(&path(site), blind).await.refusal(), (422, "Invalid"));
    let mut changed = made.clone();
    changed["spec"]["sandboxes"] = json!([sandbox("a")]);
    let second = site.put(&path(site), changed.clone()).await.object();
    assert_eq!(second["metadata"]["generation"], 2);
    assert!(version(&second) > version(&made));
    changed["spec"]["sandboxes"] = json!([]);
    assert_eq!(site.put(&path(site), changed).await.refusal(), (409, "Conflict"));
    let same = site.put(&path(site), second.clone()).await.object();
    assert_eq!(version(&same), version(&second), "it is no change");
    assert_eq!(site.post(ALL, node_pods(site, &[])).await.refusal(), (409, "AlreadyExists"));
    end(site).await;
}

async fn they_are_listed_and_watched_with_their_type(site: &Site) {
    defined(site).await;
    let made = site.post(ALL, node_pods(site, &[sandbox("a")])).await.object();
    let name = format!("fieldSelector=metadata.name%3D{}", site.suffix);
    let list = site.get(&format!("{ALL}?{name}")).await.object();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("NodePodsList"), &json!("flock.netpol/v1alpha1"))
    );
    assert_eq!(list["items"], json!([made]), "unlike those of kinds that a server knows by itself");
    let mut events = site.watch(ALL, &format!("resourceVersion={}&{name}", version(&made))).await;
    let mut changed = made.clone();
    changed["spec"]["sandboxes"] = json!([]);
    let changed = site.put(&path(site), changed).await.object();
    let event = events.next().await.unwrap();
    assert_eq!((short(&event), &event["object"]), (format!("MODIFIED {}", site.suffix), &changed));
    end(site).await;
    assert_eq!(short(&events.next().await.unwrap()), format!("DELETED {}", site.suffix));
}
