//! Pods that ended or are about to: their addresses get reused, and the new owner alone counts.

use crate::cluster::Cluster;
use crate::flow::{Flow, SERVICES};
use crate::members::{MEMBERS, member};
use crate::objects::{Objects, PodDocument};

/// Another pod, `old` in bank, that has or had web's addresses.
fn old() -> PodDocument {
    PodDocument {
        namespace: "bank".to_owned(),
        name: "old".to_owned(),
        labels: "{app: old}".to_owned(),
        ..PodDocument::of(member("web"))
    }
}

/// Policies that isolate `old`, and let it and nobody else into vault.
const OF_OLD: [(&str, &str); 2] = [
    ("bank", "{podSelector: {matchLabels: {app: old}}, policyTypes: [Ingress, Egress]}"),
    (
        "bank",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: old}}}]}]}",
    ),
];

/// Web is not isolated by what is said of `old`, and is not let in in its place.
fn web_alone(flow: &Flow) -> bool {
    !flow.is_to(&["vault"])
}

#[test]
fn a_finished_pod_has_no_address() {
    let Some(cluster) = Cluster::of_all_members("finished") else {
        return;
    };
    for phase in ["Succeeded", "Failed"] {
        let finished = PodDocument { phase, ..old() };
        let objects = Objects::of_all_members().with(&finished.text());
        cluster.enforce(&objects.with_policies(&OF_OLD));
        let wrong = cluster.wrong(&SERVICES, web_alone);
        assert_eq!(wrong, Vec::<String>::new(), "{phase}");
    }
}

#[test]
fn a_pod_that_is_being_deleted_yields_its_address() {
    let Some(cluster) = Cluster::of_all_members("deleting") else {
        return;
    };
    let deleting = |pod: PodDocument| PodDocument {
        metadata: "deletionTimestamp: \"2024-01-01T00:00:00Z\"".to_owned(),
        ..pod
    };
    let objects = Objects::of_all_members().with(&deleting(old()).text());
    cluster.enforce(&objects.with_policies(&OF_OLD));
    let wrong = cluster.wrong(&SERVICES, web_alone);
    assert_eq!(wrong, Vec::<String>::new(), "the new owner alone counts");

    // While nobody else has its addresses, it stays guarded, and known as a peer.
    let all_deleting = MEMBERS.iter().fold(Objects::without_pods(), |objects, member| {
        objects.with(&deleting(PodDocument::of(member)).text())
    });
    cluster.enforce(&all_deleting.with_policy(
        "shop",
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
    ));
    let wrong = cluster.wrong(&SERVICES, |flow| flow.to.namespace != "shop" || flow.is_from(&["web"]));
    assert_eq!(wrong, Vec::<String>::new(), "without another owner");
}
