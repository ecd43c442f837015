//! Each finding, of a cluster that is well but for one thing.

use super::super::finding::State;
use super::*;

fn node(name: &str) -> ClusterNode {
    ClusterNode {
        name: name.to_owned(),
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        kernel: "6.12.5".to_owned(),
        runtime: "containerd://2.1.0".to_owned(),
        kubelet: "v1.33.0".to_owned(),
        ready: true,
        pod_cidrs: 1,
    }
}

fn set(name: &str) -> Workload {
    Workload { namespace: "kube-system".to_owned(), name: name.to_owned(), ..Workload::default() }
}

/// A cluster that is fit for an install.
fn cluster() -> ClusterFacts {
    ClusterFacts {
        namespace: "flock-system".to_owned(),
        version: "v1.33.0".to_owned(),
        rights: Ok(vec![Right { words: "create namespaces".to_owned(), allowed: true }]),
        priorities: Ok(vec!["system-cluster-critical".to_owned(), "system-node-critical".to_owned()]),
        has_quota: Ok(false),
        nodes: Ok(vec![node("n1"), node("n2")]),
        workloads: Ok(vec![set("kube-flannel-ds"), set("kube-proxy")]),
        proxy_mode: Ok(Some(String::new())),
        policies: Ok(BTreeMap::new()),
        installed: Ok(Installed::default()),
    }
}

fn with(change: impl FnOnce(&mut ClusterFacts)) -> Vec<Finding> {
    let mut cluster = cluster();
    change(&mut cluster);
    judge(&cluster)
}

fn wrong(findings: &[Finding]) -> Vec<(&str, State, &str)> {
    let bad = findings.iter().filter(|it| matches!(it.state, State::Warn | State::Fail));
    bad.inspect(|it| assert!(it.remedy.is_some(), "{it:?}"))
        .map(|it| (it.name, it.state, it.found.as_str()))
        .collect()
}

/// The only thing that is not well.
fn only(findings: &[Finding]) -> (&str, State, &str) {
    let [only] = wrong(findings)[..] else { panic!("{findings:#?}") };
    only
}

#[test]
fn of_a_cluster_that_is_fit_nothing_is_wrong() {
    let findings = judge(&cluster());
    assert_eq!(wrong(&findings), []);
    assert!(findings.iter().all(|it| it.state == State::Ok), "{findings:#?}");
}

#[test]
fn kubernetes_is_new_enough() {
    for (version, state) in [
        ("v1.30.0", State::Ok),
        ("v1.36.1-eks-0a1b2c", State::Ok),
        ("v2.0.0", State::Ok),
        ("v1.29.15", State::Fail),
        ("v1.9.0", State::Fail),
        ("unknown", State::Skipped),
    ] {
        let findings = with(|it| it.version = version.to_owned());
        assert_eq!(findings[0].state, state, "{version}");
    }
}

#[test]
fn the_right_that_is_missing_is_named() {
    let findings = with(|it| {
        let missing =
            Right { words: "create clusterroles.rbac.authorization.k8s.io".to_owned(), allowed: false };
        it.rights.as_mut().unwrap().push(missing);
    });
    let found = "you may not create clusterroles.rbac.authorization.k8s.io";
    assert_eq!(only(&findings), ("rights", State::Fail, found));
}

#[test]
fn priority_classes_and_the_quota_that_gke_wants() {
    let findings = with(|it| it.priorities = Ok(vec!["system-node-critical".to_owned()]));
    assert_eq!(only(&findings), ("priority", State::Fail, "no priority class system-cluster-critical"));
    let on_gke = |quota: Readable<bool>| {
        with(|it| {
            it.version = "v1.33.2-gke.1111000".to_owned();
            it.has_quota = quota;
        })
    };
    let missing = on_gke(Ok(false));
    assert!(matches!(only(&missing), ("priority", State::Warn, found) if found.contains("ResourceQuota")));
    assert_eq!(wrong(&on_gke(Ok(true))), []);
}

#[test]
fn nodes_are_judged_one_by_one() {
    type Change = fn(&mut ClusterNode);
    let changes: [(&str, State, Change); 6] = [
        ("os", State::Warn, |node| node.os = "windows".to_owned()),
        ("architecture", State::Fail, |node| node.architecture = "s390x".to_owned()),
        ("kernel", State::Warn, |node| node.kernel = "5.4.0-200-generic".to_owned()),
        ("runtime", State::Warn, |node| node.runtime = "docker://26.0.0".to_owned()),
        ("pod-cidrs", State::Warn, |node| node.pod_cidrs = 0),
        ("ready", State::Warn, |node| node.ready = false),
    ];
    for (name, state, change) in changes {
        let findings = with(|it| change(&mut it.nodes.as_mut().unwrap()[1]));
        let found = only(&findings);
        assert_eq!((found.0, found.1), (name, state));
        assert!(found.2.contains("n2") && !found.2.contains("n1"), "{}", found.2);
    }
    let many = with(|it| {
        it.nodes =
            Ok((0..9).map(|index| ClusterNode { pod_cidrs: 0, ..node(&format!("w{index}")) }).collect());
    });
    assert!(only(&many).2.ends_with("w0, w1, w2, w3 and 5 more"));
}

#[test]
fn ipvs_passes_the_rules_by() {
    for (mode, state) in [
        (Ok(Some("ipvs")), State::Fail),
        (Ok(Some("nftables")), State::Ok),
        (Ok(Some("iptables")), State::Ok),
        (Ok(None), State::Skipped),
        (Err("no"), State::Skipped),
    ] {
        let findings =
            with(|it| it.proxy_mode = mode.map(|mode| mode.map(str::to_owned)).map_err(str::to_owned));
        let finding = findings.iter().find(|it| it.name == "kube-proxy").unwrap();
        assert_eq!(finding.state, state, "{mode:?}");
    }
}

#[test]
fn others_that_enforce_are_named() {
    let findings = with(|it| it.workloads.as_mut().unwrap().push(set("calico-node")));
    let found = "Calico enforces NetworkPolicy, too (DaemonSet kube-system/calico-node)";
    assert_eq!(only(&findings), ("enforcers", State::Warn, found));
    let k3s = with(|it| it.nodes.as_mut().unwrap()[0].kubelet = "v1.33.1+k3s1".to_owned());
    assert_eq!(only(&k3s).0, "k3s");
}

#[test]
fn policies_that_begin_to_be_enforced_are_counted() {
    let policies = || Ok(BTreeMap::from([("shop".to_owned(), 3), ("web".to_owned(), 1)]));
    let findings = with(|it| it.policies = policies());
    let found = "4 NetworkPolicies in 2 namespaces: shop, web will begin to be enforced";
    assert_eq!(only(&findings), ("policies", State::Warn, found));
    let upgrade = with(|it| {
        it.policies = policies();
        it.installed = Ok(Installed { compiler: Some("c:1".to_owned()), agent: Some("a:1".to_owned()) });
    });
    assert_eq!(wrong(&upgrade), [], "they are enforced already");
    let installed = upgrade.iter().find(|it| it.name == "installed").unwrap();
    assert_eq!(installed.found, "installed already: compilers c:1, agents a:1");
}

#[test]
fn what_may_not_be_read_is_told_and_fails_nothing() {
    let no = || "forbidden".to_owned();
    let findings = judge(&ClusterFacts {
        namespace: "flock-system".to_owned(),
        version: "v1.33.0".to_owned(),
        rights: Err(no()),
        priorities: Err(no()),
        has_quota: Err(no()),
        nodes: Err(no()),
        workloads: Err(no()),
        proxy_mode: Err(no()),
        policies: Err(no()),
        installed: Err(no()),
    });
    assert_eq!(wrong(&findings), []);
    let skipped: Vec<_> = findings.iter().filter(|it| it.state == State::Skipped).collect();
    assert_eq!(skipped.len(), findings.len() - 1, "all but the version");
    assert!(skipped.iter().all(|it| it.found.contains("forbidden")), "{skipped:#?}");
}
