//! Watches: where they start, what they are told, and how they end.

use serde_json::json;

use crate::agreed;
use crate::site::{Site, short, version};

agreed!(
    changes_after_a_version_come_in_order_and_with_theirs,
    without_a_version_all_objects_come_first,
    a_watch_of_the_future_is_taken_and_silent,
    an_old_version_is_expired,
    a_watch_ends_when_its_time_is_up,
    before_its_end_a_watch_of_a_busy_kind_gets_a_bookmark,
    one_object_is_watched_by_its_name,
);

async fn put(site: &Site, name: &str, value: &str) -> u64 {
    let map = json!({ "metadata": { "name": name }, "data": { "k": value } });
    let answer = site.put(&site.path(&format!("configmaps/{name}")), map.clone()).await;
    let answer = if answer.code == 404 { site.post(&site.path("configmaps"), map).await } else { answer };
    version(&answer.object())
}

async fn changes_after_a_version_come_in_order_and_with_theirs(site: &Site) {
    let maps = site.path("configmaps");
    let first = put(site, "x", "1").await;
    let added = put(site, "y", "1").await;
    let modified = put(site, "x", "2").await;
    let mut events = site.watch(&maps, &format!("resourceVersion={first}")).await;
    assert_eq!(events.code, 200);
    site.delete(&site.path("configmaps/y")).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(events.next().await.unwrap());
    }
    assert_eq!(told.iter().map(short).collect::<Vec<_>>(), ["ADDED y", "MODIFIED x", "DELETED y"]);
    let versions: Vec<u64> = told.iter().map(|event| version(&event["object"])).collect();
    assert_eq!(versions[..2], [added, modified]);
    assert!(versions[2] > modified, "that of its end");
    assert_eq!(told[2]["object"]["data"]["k"], "1", "as it was");
    assert_eq!(
        (&told[0]["object"]["kind"], &told[0]["object"]["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
}

async fn without_a_version_all_objects_come_first(site: &Site) {
    let maps = site.path("configmaps");
    let newest = put(site, "x", "1").await;
    // Of the cache; it may have to catch up with what this test has written.
    site.get(&format!("{maps}?resourceVersion={newest}&resourceVersionMatch=NotOlderThan")).await.object();
    for query in ["resourceVersion=0&timeoutSeconds=1", "timeoutSeconds=1"] {
        let events = site.watch(&maps, query).await.rest().await;
        let told: Vec<String> =
            events.iter().map(short).filter(|event| !event.contains("kube-root-ca")).collect();
        assert_eq!(told, ["ADDED x"], "{query}");
    }
}

async fn a_watch_of_the_future_is_taken_and_silent(site: &Site) {
    let now = put(site, "x", "1").await;
    let query = format!("resourceVersion={}&timeoutSeconds=3&allowWatchBookmarks=true", now + 1_000_000_000);
    let events = site.watch(&site.path("configmaps"), &query).await;
    assert_eq!(events.code, 200);
    put(site, "x", "2").await;
    put(site, "y", "1").await;
    assert_eq!(events.rest().await, [json!(null); 0]);
}

async fn an_old_version_is_expired(site: &Site) {
    put(site, "x", "1").await;
    site.compact();
    let mut events = site.watch(&site.path("configmaps"), "resourceVersion=1&timeoutSeconds=5").await;
    let first = events.next().await.unwrap();
    // In a real server, whether one is too old depends on when its cache was filled. If it is, it says so in one of two ways.
    let status = if events.code == 200 { &first["object"] } else { &first };
    if site.is_here() || events.code != 200 || first["type"] == "ERROR" {
        assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")), "{first}");
        assert_eq!(events.next().await, None, "that is the end");
    } else {
        assert_eq!(first["type"], "ADDED", "{first}");
    }
}

async fn a_watch_ends_when_its_time_is_up(site: &Site) {
    let now = put(site, "x", "1").await;
    let query = format!("resourceVersion={now}&timeoutSeconds=1");
    assert_eq!(site.watch(&site.path("configmaps"), &query).await.rest().await, [json!(null); 0]);
}

async fn before_its_end_a_watch_of_a_busy_kind_gets_a_bookmark(site: &Site) {
    let start = put(site, "x", "1").await;
    let one = format!("resourceVersion={start}&timeoutSeconds=6&fieldSelector=metadata.name%3Dx");
    let with = site.watch(&site.path("configmaps"), &format!("{one}&allowWatchBookmarks=true")).await;
    let without = site.watch(&site.path("configmaps"), &one).await;
    // It is of the kind, and nothing that they watch.
    let other = put(site, "y", "1").await;
    let (with, without) = futures::join!(with.rest(), without.rest());
    assert_eq!(without, [json!(null); 0]);
    assert!(!with.is_empty(), "one more than two seconds before the end");
    for bookmark in with {
        assert_eq!(bookmark["type"], "BOOKMARK", "{bookmark}");
        assert!(version(&bookmark["object"]) >= other, "{bookmark}");
        assert_eq!(bookmark["object"]["kind"], "ConfigMap");
        assert!(bookmark["object"]["metadata"].get("name").is_none(), "{bookmark}");
    }
}

async fn one_object_is_watched_by_its_name(site: &Site) {
    let start = put(site, "other", "1").await;
    let query = format!("resourceVersion={start}&fieldSelector=metadata.name%3Dca");
    let mut events = site.watch(&site.path("configmaps"), &query).await;
    put(site, "other", "2").await;
    put(site, "ca", "1").await;
    assert_eq!(short(&events.next().await.unwrap()), "ADDED ca");
}
