//! Selectors with their operators, and blocks with their excepts.

use flock_model::oracle::cluster::{Operator, Peer, Selector};

use super::build;
use super::build::{
    DB, OTHER, OUTSIDE, WEB, app, block, cluster, everything, expression, ingress, labelled, of_namespaces,
    own, pod, rule, tcp, with_pod,
};

#[test]
fn a_pod_selector_peer_stays_in_the_policys_namespace() {
    let cluster = cluster(vec![ingress(app("db"), vec![rule(vec![own(everything())], vec![])])]);
    assert!(tcp(&cluster, WEB, DB, 5432));
    assert!(!tcp(&cluster, OTHER, DB, 5432));
    assert!(!tcp(&cluster, OUTSIDE, DB, 5432), "an address of nobody matches no selector");
    let by_name = build::cluster(vec![ingress(app("db"), vec![rule(vec![own(app("other"))], vec![])])]);
    assert!(!tcp(&by_name, OTHER, DB, 5432));
}

#[test]
fn a_namespace_selector_peer_takes_all_pods_of_the_namespaces() {
    let lab = expression("team", Operator::In, &["lab", "office"]);
    let by_label = cluster(vec![ingress(app("db"), vec![rule(vec![of_namespaces(lab.clone())], vec![])])]);
    assert!(tcp(&by_label, OTHER, DB, 80));
    assert!(!tcp(&by_label, WEB, DB, 80));
    let all = cluster(vec![ingress(app("db"), vec![rule(vec![of_namespaces(everything())], vec![])])]);
    assert!(tcp(&all, OTHER, DB, 80) && tcp(&all, WEB, DB, 80));
    assert!(!tcp(&all, OUTSIDE, DB, 80), "all namespaces are still not all addresses");

    let both = |name| Peer::Pods { pods: Some(app(name)), namespaces: Some(lab.clone()) };
    let matching = cluster(vec![ingress(app("db"), vec![rule(vec![both("other")], vec![])])]);
    assert!(tcp(&matching, OTHER, DB, 80));
    let one_only = cluster(vec![ingress(app("db"), vec![rule(vec![both("web")], vec![])])]);
    assert!(
        !tcp(&one_only, OTHER, DB, 80) && !tcp(&one_only, WEB, DB, 80),
        "both selectors of one peer must match"
    );
    let separate = vec![own(app("web")), of_namespaces(lab)];
    let either = cluster(vec![ingress(app("db"), vec![rule(separate, vec![])])]);
    assert!(tcp(&either, OTHER, DB, 80) && tcp(&either, WEB, DB, 80), "two peers are alternatives");
}

#[test]
fn the_four_operators_and_missing_keys() {
    let reaches = |selector: Selector| {
        let policy = ingress(app("db"), vec![rule(vec![own(selector)], vec![])]);
        tcp(&labelled(cluster(vec![policy]), "web", "tier", "front"), WEB, DB, 80)
    };
    assert!(reaches(expression("tier", Operator::In, &["back", "front"])));
    assert!(!reaches(expression("tier", Operator::In, &["back"])));
    assert!(!reaches(expression("absent", Operator::In, &["back"])));
    assert!(!reaches(expression("tier", Operator::NotIn, &["front"])));
    assert!(reaches(expression("tier", Operator::NotIn, &["back"])));
    assert!(reaches(expression("absent", Operator::NotIn, &["back"])), "a missing key satisfies NotIn");
    assert!(reaches(expression("tier", Operator::Exists, &[])));
    assert!(!reaches(expression("absent", Operator::Exists, &[])));
    assert!(!reaches(expression("tier", Operator::DoesNotExist, &[])));
    assert!(reaches(expression("absent", Operator::DoesNotExist, &[])));
}

#[test]
fn a_block_without_its_excepts() {
    let peer = block("10.0.0.0/29", &["10.0.0.2/31", "10.0.0.7/32"]);
    let cluster = cluster(vec![ingress(app("web"), vec![rule(vec![peer], vec![])])]);
    for (source, expected) in [
        ("9.255.255.255", false),
        ("10.0.0.0", true),
        (DB, false),
        (OTHER, false),
        ("10.0.0.4", true),
        ("10.0.0.6", true),
        ("10.0.0.7", false),
        ("10.0.0.8", false),
    ] {
        assert_eq!(tcp(&cluster, source, WEB, 80), expected, "{source}");
    }
}

#[test]
fn an_except_belongs_to_its_own_peer_only() {
    let peers =
        vec![block("0.0.0.0/0", &["10.0.0.0/8"]), block("10.0.0.0/24", &["10.0.0.2/32"]), own(app("db"))];
    let with_selector = cluster(vec![ingress(app("web"), vec![rule(peers.clone(), vec![])])]);
    assert!(tcp(&with_selector, OTHER, WEB, 80) && tcp(&with_selector, DB, WEB, 80));
    let blocks_only = cluster(vec![ingress(app("web"), vec![rule(peers[..2].to_vec(), vec![])])]);
    assert!(tcp(&blocks_only, OUTSIDE, WEB, 80) && !tcp(&blocks_only, DB, WEB, 80));
}

#[test]
fn blocks_match_their_own_family_and_ignore_host_bits() {
    let six = "fd00::1";
    let v4 = cluster(vec![ingress(everything(), vec![rule(vec![block("0.0.0.0/0", &[])], vec![])])]);
    let v4 = with_pod(v4, pod("shop", "six", "n0", &[six]));
    assert!(tcp(&v4, OUTSIDE, WEB, 80));
    assert!(!tcp(&v4, "2001:db8::1", six, 80));
    let v6 =
        cluster(vec![ingress(everything(), vec![rule(vec![block("::/0", &["2001:db8::/32"])], vec![])])]);
    let v6 = with_pod(v6, pod("shop", "six", "n0", &[six]));
    assert!(!tcp(&v6, OUTSIDE, WEB, 80));
    assert!(tcp(&v6, "2001:db7:ffff::1", six, 80) && !tcp(&v6, "2001:db8::1", six, 80));
    let host_bits = cluster(vec![ingress(app("web"), vec![rule(vec![block("10.0.0.77/24", &[])], vec![])])]);
    assert!(tcp(&host_bits, OTHER, WEB, 80) && !tcp(&host_bits, OUTSIDE, WEB, 80));
}
