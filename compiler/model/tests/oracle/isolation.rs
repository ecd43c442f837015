//! Whom a policy isolates, in which directions, and how policies add up.

use flock_model::oracle::cluster::{
    Direction::{self, Egress, Ingress},
    Policy, PolicySpec, PortNumber,
    Protocol::Tcp,
    Rule,
};
use flock_model::oracle::flow::{Flow, Transport};
use flock_model::oracle::{Judgement, allowed, judge};

use super::build::{
    DB, OTHER, OUTSIDE, WEB, address, app, block, cluster, egress, everything, flow, icmp, ingress, own,
    port, rule, tcp,
};

#[test]
fn without_policies_everything_passes() {
    let cluster = cluster(vec![]);
    assert!(tcp(&cluster, WEB, DB, 80));
    assert!(tcp(&cluster, OUTSIDE, WEB, 80));
    assert!(allowed(&cluster, &icmp(WEB, OUTSIDE, 8, 64)));
}

#[test]
fn default_deny_of_ingress_leaves_egress_open() {
    let cluster = cluster(vec![ingress(everything(), vec![])]);
    assert!(!tcp(&cluster, OTHER, WEB, 80));
    assert!(!tcp(&cluster, WEB, DB, 80), "db is selected as well");
    assert!(!tcp(&cluster, OUTSIDE, DB, 80));
    assert!(tcp(&cluster, WEB, OTHER, 80), "other's namespace has no policy");
    assert!(tcp(&cluster, WEB, OUTSIDE, 80));
}

#[test]
fn default_deny_of_egress_leaves_ingress_open() {
    let cluster = cluster(vec![egress(app("web"), vec![])]);
    assert!(!tcp(&cluster, WEB, DB, 80));
    assert!(!tcp(&cluster, WEB, OUTSIDE, 80));
    assert!(tcp(&cluster, DB, WEB, 80));
    assert!(tcp(&cluster, DB, OUTSIDE, 80));
}

#[test]
fn each_end_is_judged_on_its_own_node_and_both_on_a_shared_one() {
    let pass = Judgement { egress: true, ingress: true };
    let one = cluster(vec![ingress(app("db"), vec![])]);
    assert_eq!(judge(&one, "n0", &flow(WEB, DB, Tcp, 80)), pass);
    assert_eq!(judge(&one, "n1", &flow(WEB, DB, Tcp, 80)), Judgement { egress: true, ingress: false });

    let mut lab = ingress(everything(), vec![]);
    lab.namespace = "lab";
    let open_egress = egress(app("web"), vec![rule(vec![], vec![])]);
    let two = cluster(vec![lab, open_egress]);
    let verdict = judge(&two, "n0", &flow(WEB, OTHER, Tcp, 80));
    assert_eq!(
        verdict,
        Judgement { egress: true, ingress: false },
        "an allowing egress does not end the matter"
    );
    assert_eq!(judge(&two, "n1", &flow(WEB, OTHER, Tcp, 80)), pass);
}

#[test]
fn a_rule_without_peers_and_ports_allows_all() {
    for rule in [Rule { peers: None, ports: None }, rule(vec![], vec![])] {
        let cluster = cluster(vec![ingress(everything(), vec![]), ingress(app("web"), vec![rule])]);
        assert!(tcp(&cluster, OUTSIDE, WEB, 80));
        assert!(allowed(&cluster, &icmp(OUTSIDE, WEB, 8, 64)));
        assert!(allowed(&cluster, &Flow::first(address(OUTSIDE), address(WEB), Transport::Other(47))));
        assert!(!tcp(&cluster, WEB, DB, 80));
    }
}

#[test]
fn types_default_to_ingress_and_to_egress_if_it_has_rules() {
    let of = |types: Option<Vec<Direction>>, egress: Option<Vec<Rule>>| {
        let spec = PolicySpec::Understood { types, ingress: None, egress };
        let cluster = cluster(vec![Policy { namespace: "shop", name: "p", pod_selector: app("web"), spec }]);
        (tcp(&cluster, OUTSIDE, WEB, 80), tcp(&cluster, WEB, OUTSIDE, 80))
    };
    let to_db = Some(vec![rule(vec![block("10.0.0.2/32", &[])], vec![])]);
    assert_eq!(of(None, None), (false, true));
    assert_eq!(of(None, Some(vec![])), (false, true));
    assert_eq!(of(None, to_db.clone()), (false, false));
    assert_eq!(of(Some(vec![]), to_db.clone()), (false, false), "an empty list is none");
    assert_eq!(of(Some(vec![Ingress]), to_db.clone()), (false, true), "egress rules of no egress policy");
    assert_eq!(of(Some(vec![Egress]), to_db), (true, false));
    assert_eq!(of(Some(vec![Egress]), None), (true, false));
}

#[test]
fn policies_add_up() {
    let from_other = rule(vec![block("10.0.0.3/32", &[])], vec![port(Tcp, PortNumber::Number(80))]);
    let from_db = rule(vec![own(app("db"))], vec![port(Tcp, PortNumber::Number(81))]);
    let cluster = cluster(vec![
        ingress(everything(), vec![]),
        ingress(app("web"), vec![from_other]),
        ingress(app("web"), vec![from_db]),
    ]);
    assert!(tcp(&cluster, OTHER, WEB, 80) && tcp(&cluster, DB, WEB, 81));
    assert!(
        !tcp(&cluster, OTHER, WEB, 81) && !tcp(&cluster, DB, WEB, 80),
        "peers and ports of one rule belong together"
    );
}

#[test]
fn a_policy_not_understood_isolates_in_its_directions() {
    let spec = PolicySpec::NotUnderstood { types: vec![Egress] };
    let policy = Policy { namespace: "shop", name: "p", pod_selector: app("web"), spec };
    let closed = cluster(vec![policy.clone()]);
    assert!(!tcp(&closed, WEB, DB, 80));
    assert!(tcp(&closed, DB, WEB, 80));
    let opened = cluster(vec![policy, egress(app("web"), vec![rule(vec![own(app("db"))], vec![])])]);
    assert!(tcp(&opened, WEB, DB, 80), "others may still allow");
    assert!(!tcp(&opened, WEB, OTHER, 80));
}
