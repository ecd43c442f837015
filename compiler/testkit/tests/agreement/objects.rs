//! One object: made, read, changed, refused and deleted.

use serde_json::{Value, json};

use crate::agreed;
use crate::site::{Site, version};

agreed!(
    what_is_made_is_read_changed_and_deleted,
    a_stale_version_is_a_conflict,
    what_changes_nothing_is_no_change,
    a_merge_patch_changes_what_it_names,
    a_secret_is_written_as_text_and_read_as_bytes,
    an_objects_name_is_that_of_its_path,
);

fn map(name: &str, data: &Value) -> Value {
    json!({ "metadata": { "name": name }, "data": data })
}

async fn what_is_made_is_read_changed_and_deleted(site: &Site) {
    let (all, one) = (site.path("configmaps"), site.path("configmaps/m"));
    let missing = site.get(&one).await;
    assert_eq!(missing.refusal(), (404, "NotFound"));
    let details = &missing.body["details"];
    assert_eq!((&details["name"], &details["kind"]), (&json!("m"), &json!("configmaps")));

    let made = site.post(&all, map("m", &json!({ "a": "1" }))).await;
    assert_eq!(made.code, 201);
    let made = made.object();
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(made["metadata"]["namespace"], site.namespace);
    assert!(made["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    assert!(
        made["metadata"]["creationTimestamp"].is_string() && made["metadata"]["managedFields"].is_array()
    );
    assert_eq!(site.get(&one).await.object(), made);
    assert_eq!(site.post(&all, map("m", &json!({}))).await.refusal(), (409, "AlreadyExists"));

    let mut changed = made.clone();
    changed["data"] = json!({ "a": "2" });
    let changed = site.put(&one, changed).await.object();
    assert!(version(&changed) > version(&made));
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(site.put(&site.path("configmaps/n"), map("n", &json!({}))).await.refusal(), (404, "NotFound"));

    assert_eq!(site.delete(&one).await.code, 200);
    assert_eq!(site.get(&one).await.code, 404);
    assert_eq!(site.delete(&one).await.refusal(), (404, "NotFound"));
    let again = site.post(&all, map("m", &json!({}))).await.object();
    assert_ne!(again["metadata"]["uid"], made["metadata"]["uid"], "it is another one");
}

async fn a_stale_version_is_a_conflict(site: &Site) {
    let one = site.path("configmaps/m");
    let first = site.post(&site.path("configmaps"), map("m", &json!({ "a": "1" }))).await.object();
    let mut second = first.clone();
    second["data"] = json!({ "a": "2" });
    site.put(&one, second.clone()).await.object();
    second["data"] = json!({ "a": "3" });
    assert_eq!(site.put(&one, second).await.refusal(), (409, "Conflict"));
    // Without a version it goes by nothing, for kinds that the server knows by itself.
    let unconditional = site.put(&one, map("m", &json!({ "a": "4" }))).await.object();
    assert_eq!(unconditional["data"]["a"], "4");
}

async fn what_changes_nothing_is_no_change(site: &Site) {
    let (all, one) = (site.path("configmaps"), site.path("configmaps/m"));
    let made = site.post(&all, map("m", &json!({ "a": "1" }))).await.object();
    let same = site.put(&one, made.clone()).await.object();
    assert_eq!(version(&same), version(&made));
    let same = site.merge(&one, json!({ "data": { "a": "1" } })).await.object();
    assert_eq!(version(&same), version(&made));
    let query = format!("resourceVersion={}&timeoutSeconds=1", version(&made));
    assert_eq!(site.watch(&all, &query).await.rest().await, [json!(null); 0], "nobody is told");
}

async fn a_merge_patch_changes_what_it_names(site: &Site) {
    let one = site.path("configmaps/m");
    let made = site.post(&site.path("configmaps"), map("m", &json!({ "a": "1", "b": "2" }))).await.object();
    let changed = site.merge(&one, json!({ "data": { "a": null, "c": "3" } })).await.object();
    assert_eq!(changed["data"], json!({ "b": "2", "c": "3" }));
    let of_version = json!({ "resourceVersion": made["metadata"]["resourceVersion"] });
    let stale = json!({ "metadata": of_version, "data": { "c": "4" } });
    assert_eq!(site.merge(&one, stale).await.refusal(), (409, "Conflict"));
    assert_eq!(site.merge(&site.path("configmaps/n"), json!({})).await.refusal(), (404, "NotFound"));
}

async fn a_secret_is_written_as_text_and_read_as_bytes(site: &Site) {
    let secret = json!({
        "metadata": { "name": "s" }, "data": { "key": "AAE=", "both": "AAE=" }, "stringData": { "both": "text" },
    });
    let made = site.post(&site.path("secrets"), secret).await.object();
    assert_eq!(made["data"], json!({ "key": "AAE=", "both": "dGV4dA==" }));
    assert_eq!((made.get("stringData"), &made["type"]), (None, &json!("Opaque")));
    let broken = json!({ "metadata": { "name": "t" }, "data": { "key": "%" } });
    assert_eq!(site.post(&site.path("secrets"), broken).await.refusal(), (400, "BadRequest"));
}

async fn an_objects_name_is_that_of_its_path(site: &Site) {
    site.post(&site.path("configmaps"), map("m", &json!({}))).await.object();
    let other = site.put(&site.path("configmaps/m"), map("n", &json!({}))).await;
    assert_eq!(other.refusal(), (400, "BadRequest"));
    let elsewhere = json!({ "metadata": { "name": "x", "namespace": "kube-public" } });
    assert_eq!(site.post(&site.path("configmaps"), elsewhere).await.refusal(), (400, "BadRequest"));
    assert_eq!(site.get("/apis/flock.netpol/v9/things").await.code, 404);
}
