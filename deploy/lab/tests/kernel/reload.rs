//! A script replaces what its predecessor left, any number of times, and touches nothing but its own table.

use flock_lab::Protocol::Tcp;

use crate::cluster::{Cluster, script};
use crate::flow::SERVICES;
use crate::objects::Objects;

#[test]
fn a_script_loads_again_and_again() {
    let Some(cluster) = Cluster::of_all_members("reload") else {
        return;
    };
    let objects = Objects::of_all_members()
        .host_interfaces("sha1:cali")
        .with_default_deny()
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {tier: back}}, ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16, \
             except: [10.244.1.0/29]}}, {podSelector: {}}], ports: [{port: 80}, {port: 8000, endPort: 9000}]}], \
             egress: [{ports: [{port: http}]}]}",
        );
    let translation = objects.translation();
    let [node, _] = &cluster.nodes;
    let first = script(&translation, node);
    let table = |arguments: &[&str]| node.run("nft", arguments, "");
    let listed = || table(&["-s", "list", "table", "inet", "flock_netpol"]).unwrap();

    node.nft("add table inet somebody_else").unwrap();
    node.nft(&first).unwrap();
    let once = listed();
    node.nft(&first).unwrap();
    assert_eq!(once, listed(), "a second load changes nothing");

    let marker = first
        .lines()
        .last()
        .and_then(|line| line.split_whitespace().find(|word| word.starts_with("rev_")))
        .unwrap();
    let holds = |marker: &str| table(&["list", "set", "inet", "flock_netpol", marker]).is_ok();
    assert!(holds(marker));
    node.nft(&script(&Objects::of_all_members().translation(), node)).unwrap();
    assert!(!holds(marker), "another revision has another marker");

    cluster.enforce(
        &Objects::of_all_members().with_policy(
            "shop",
            "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]}",
        ),
    );
    let wrong = cluster.wrong(&SERVICES, |flow| flow.to.namespace != "shop" || flow.at(Tcp, 80));
    assert_eq!(wrong, Vec::<String>::new(), "nothing of the predecessors is left");
    table(&["list", "table", "inet", "somebody_else"]).unwrap();
}
