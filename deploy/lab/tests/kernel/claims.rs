//! Annotations that name interfaces are hostile input: what a tenant writes there cuts nobody off but itself.

use flock_lab::{Family, Probe};

use crate::cluster::Cluster;
use crate::flow::SERVICES;
use crate::members::{MEMBERS, member};
use crate::objects::{Objects, PodDocument};
use crate::trials::{Trials, to_pod};

/// The members; web carries an annotation and nobody else does.
fn web_claims(interface: &str) -> Objects {
    let objects = Objects::without_pods().host_interfaces("annotation:example.org/veth");
    MEMBERS.iter().fold(objects, |objects, member| {
        let mut pod = PodDocument::of(member);
        if member.name == "web" {
            pod.metadata = format!("annotations: {{example.org/veth: {interface}}}");
        }
        objects.with(&pod.text())
    })
}

#[test]
fn a_claim_on_an_interface_of_others_cuts_nobody_off() {
    let Some(cluster) = Cluster::of_all_members("claims") else {
        return;
    };
    let [a, b] = &cluster.nodes;
    a.serve(&SERVICES).unwrap();
    b.serve(&SERVICES).unwrap();
    let between = |from: &flock_lab::Node, to: &flock_lab::Node| {
        let each =
            |family| SERVICES.map(|(protocol, port)| Probe::new(from, protocol, to.address(family), port));
        [Family::V4, Family::V6].into_iter().flat_map(each).collect::<Vec<_>>()
    };
    // The node's uplink, its loopback, a neighbour's link, a link of the other node, and none that exists.
    for claimed in ["eth0", "lo", member("api").interface, member("db").interface, "nowhere0"] {
        cluster.enforce(&web_claims(claimed));
        let wrong = cluster.wrong(&SERVICES, |_| true);
        assert_eq!(wrong, Vec::<String>::new(), "web claims {claimed}");
        Trials::default()
            .reached("a node to itself", between(a, a))
            .reached("the node to another", between(a, b))
            .reached("another node to it", between(b, a))
            .reached("the node to its pod", to_pod(a, cluster.pod("api")))
            .reached("another node to its pod", to_pod(b, cluster.pod("api")))
            .check();
    }
}

/// The claim is left out and reported; the script loads and policies hold.
#[test]
fn a_claim_that_is_no_name_reaches_no_script() {
    let Some(cluster) = Cluster::of_all_members("no-name") else {
        return;
    };
    for claimed in ["'eth0\" accept; #'", "'*'", "\"a\\nb\"", "much-too-long-for-an-interface"] {
        let objects = web_claims(claimed).faulty();
        cluster.enforce(&objects.with_policy("shop", "{podSelector: {matchLabels: {app: web}}}"));
        let wrong = cluster.wrong(&SERVICES, |flow| !flow.is_to(&["web"]));
        assert_eq!(wrong, Vec::<String>::new(), "{claimed}");
    }
}
