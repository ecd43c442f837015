//! Lists: pages of one version, versions that are asked for, and what narrows them.

use serde_json::{Value, json};

use crate::agreed;
use crate::site::{Site, version};

agreed!(
    pages_are_of_one_version,
    lists_are_of_the_version_that_is_asked_for,
    a_version_that_is_not_reached_is_waited_for_and_then_refused,
    options_that_contradict_each_other_are_refused,
    lists_are_narrowed_by_labels_and_names,
);

/// Makes `ConfigMaps` of these names, all with these labels.
async fn made(site: &Site, names: &[&str], labels: &Value) -> u64 {
    let mut last = 0;
    for name in names {
        let map = json!({ "metadata": { "name": name, "labels": labels } });
        last = version(&site.post(&site.path("configmaps"), map).await.object());
    }
    last
}

/// A real cluster puts one of this name into every namespace.
fn names(list: &Value) -> Vec<&str> {
    let names =
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap());
    names.filter(|name| *name != "kube-root-ca.crt").collect()
}

async fn list(site: &Site, query: &str) -> Value {
    site.get(&format!("{}?{query}", site.path("configmaps"))).await.object()
}

fn token(list: &Value) -> Option<&str> {
    list["metadata"]["continue"].as_str().filter(|token| !token.is_empty())
}

async fn pages_are_of_one_version(site: &Site) {
    made(site, &["p1", "p2", "p3", "p4", "p5"], &json!({})).await;
    let first = list(site, "limit=2").await;
    assert_eq!((&first["kind"], &first["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    let item = first["items"][0].as_object().unwrap();
    assert!(!item.contains_key("kind") && !item.contains_key("apiVersion"), "the type is the list's");
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    // With a controller manager there is one more.
    assert!(first["metadata"]["remainingItemCount"].as_u64().is_some_and(|count| count == 3 || count == 4));
    // Between two pages: it is of a later version.
    made(site, &["p0"], &json!({})).await;
    let mut all: Vec<String> = names(&first).into_iter().map(str::to_owned).collect();
    let mut next = token(&first).unwrap().to_owned();
    loop {
        let page = list(site, &format!("limit=2&continue={}", escaped(&next))).await;
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        all.extend(names(&page).into_iter().map(str::to_owned));
        match token(&page) {
            Some(token) => token.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(all, ["p1", "p2", "p3", "p4", "p5"]);
    let broken = site.get(&format!("{}?limit=2&continue=nonsense", site.path("configmaps"))).await;
    assert_eq!(broken.refusal(), (400, "BadRequest"));
    // Not the same as a limit of nothing.
    assert_eq!(names(&list(site, "limit=0").await).len(), 6);
}

/// A token as it stands in a query.
fn escaped(token: &str) -> String {
    token
        .bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

async fn lists_are_of_the_version_that_is_asked_for(site: &Site) {
    let at = made(site, &["x"], &json!({})).await;
    let list = async |query: String| list(site, &query).await;
    assert_eq!(names(&list(format!("resourceVersion={at}&resourceVersionMatch=Exact")).await), ["x"]);
    let after = made(site, &["y"], &json!({})).await;
    assert!(after > at);
    assert_eq!(
        names(&list(format!("resourceVersion={at}&resourceVersionMatch=NotOlderThan")).await).len(),
        2
    );
    let newest = list(String::new()).await;
    assert!(version(&newest) >= after && names(&newest) == ["x", "y"]);
    // From a cache, which may be behind: but not behind what somebody has read.
    let any = list("resourceVersion=0".to_owned()).await;
    assert!(version(&any) > 0);
}

async fn a_version_that_is_not_reached_is_waited_for_and_then_refused(site: &Site) {
    let at = version(&list(site, "limit=1").await) + 1_000_000_000;
    let query = format!("resourceVersion={at}&resourceVersionMatch=NotOlderThan");
    let ahead = site.get(&format!("{}?{query}", site.path("configmaps"))).await;
    assert_eq!(ahead.refusal(), (504, "Timeout"));
    let details = &ahead.body["details"];
    assert_eq!(details["retryAfterSeconds"], 1, "{ahead:?}");
    assert_eq!(details["causes"][0]["reason"], "ResourceVersionTooLarge", "{ahead:?}");
}

async fn options_that_contradict_each_other_are_refused(site: &Site) {
    made(site, &["x", "y", "z"], &json!({})).await;
    let first = list(site, "limit=1").await;
    let token = escaped(token(&first).unwrap());
    for query in [
        "resourceVersionMatch=Exact".to_owned(),
        "resourceVersionMatch=NotOlderThan".to_owned(),
        "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
        "resourceVersion=1&resourceVersionMatch=Sometimes".to_owned(),
        format!("continue={token}&resourceVersion=0&resourceVersionMatch=NotOlderThan"),
    ] {
        let refused = site.get(&format!("{}?{query}", site.path("configmaps"))).await;
        assert_eq!(refused.refusal(), (422, "Invalid"), "{query}");
    }
}

async fn lists_are_narrowed_by_labels_and_names(site: &Site) {
    made(site, &["x", "y"], &json!({ "app": "web" })).await;
    made(site, &["z"], &json!({ "app": "db" })).await;
    for (query, expected) in [
        ("labelSelector=app%3Dweb", &["x", "y"][..]),
        ("labelSelector=app,app!%3Dweb", &["z"]),
        ("labelSelector=app%3Dweb&fieldSelector=metadata.name%3Dy", &["y"]),
        ("fieldSelector=metadata.name%3Dnone", &[]),
    ] {
        assert_eq!(names(&list(site, query).await), expected, "{query}");
    }
    let page = list(site, "labelSelector=app%3Dweb&limit=1").await;
    assert!(token(&page).is_some() && page["metadata"].get("remainingItemCount").is_none(), "it is unknown");
}
