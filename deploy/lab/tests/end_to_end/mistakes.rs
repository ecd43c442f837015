//! Users' mistakes while a compiler runs: nothing is lost, everything is reported with its place.

use flock_lab::{Probe, Protocol, Verdict, probe_all};

use crate::flockctl::Problem;
use crate::ground::NODES;
use crate::manifests::{ALLOW_WEB, CLUSTER, DENY};
use crate::site::Site;
use crate::support::wait::{wait_for, wait_until};

impl Site {
    /// Waits for as many problems.
    fn problems(&self, count: usize) -> Vec<Problem> {
        wait_for(&format!("{count} problems"), || {
            let problems = self.flockctl.problems();
            (problems.len() == count).then_some(problems)
        })
    }
}

#[test]
fn malformed_yaml_leaves_the_ruleset_and_is_reported_until_mended() {
    let Some(site) = Site::new("malformed") else { return };
    site.manifests.put("policies.yaml", DENY);
    let _agents = site.agents();
    site.settle();
    let before = NODES.map(|node| site.manifests.revision(node));
    let scripts = NODES.map(|node| site.ground.scripts(node));

    site.manifests.put("policies.yaml", &DENY.replace("metadata: {", "metadata: ["));
    let problems = site.problems(1);
    let Problem { source, field, consequence, .. } = &problems[0];
    assert_eq!(source, &site.manifests.file("policies.yaml"));
    assert!(field.starts_with("line 3, column "), "{field}");
    assert_eq!(consequence, "the last good objects stay in force");
    let table = site.flockctl.text(&["problems"]);
    assert!(table.contains("policies.yaml") && table.contains("line 3, column "), "{table}");
    assert!(site.flockctl.text(&["nodes"]).contains("1 problem(s)"));
    let unreadable = "flock_compiler_problems{kind=\"input_not_readable\"}";
    assert_eq!(site.compiler.metric(unreadable), Some(1.0));

    // Other files are followed meanwhile: what was denied stays so.
    site.manifests.put("cluster.yaml", &CLUSTER.replace("10.1.0.3", "10.1.0.30"));
    wait_until("the other file's change", || site.flockctl.text(&["output", "n1"]).contains("10.1.0.30"));
    site.manifests.put("cluster.yaml", CLUSTER);
    for (node, revision) in NODES.iter().zip(&before) {
        site.settle_node(node, revision);
    }
    assert_eq!(site.ground.scripts("n2"), scripts[1], "n2 is not concerned by pods of n1 that no rule names");

    site.manifests.put("policies.yaml", &format!("{DENY}---\n{ALLOW_WEB}"));
    site.problems(0);
    site.settle();
    assert_ne!(NODES.map(|node| site.manifests.revision(node)), before);
    assert_eq!(site.compiler.metric(unreadable), Some(0.0));
    assert!(site.flockctl.text(&["problems"]).contains("no problems"));
}

#[test]
fn a_policy_of_the_future_isolates_its_pods_and_nobody_else() {
    let Some(site) = Site::new("future") else { return };
    let [web, api, db] = [("n1", "web", 2), ("n1", "api", 3), ("n2", "db", 4)]
        .map(|(node, name, last)| site.ground.pod(node, name, &format!("10.1.0.{last}")));
    site.manifests.put("allow.yaml", ALLOW_WEB);
    let _agents = site.agents();
    site.settle();
    let verdicts = || {
        let probe = |from, to: &flock_lab::Pod| Probe::new(from, Protocol::Tcp, to.addresses()[0], 80);
        probe_all(&[probe(&db, &web), probe(&web, &api), probe(&web, &db), probe(&api, &db)]).unwrap()
    };
    let [reached, dropped] = [Verdict::Reached, Verdict::Dropped];
    assert_eq!(verdicts(), [reached, reached, reached, dropped]);

    let future = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: future}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{serviceSelector: {}}]}]
";
    site.manifests.put("future.yaml", future);
    let problems = site.problems(1);
    let Problem { source, object, field, message, consequence } = &problems[0];
    assert_eq!(source, &site.manifests.file("future.yaml"));
    assert_eq!(object, "NetworkPolicy shop/future");
    assert_eq!(field, "spec.ingress[0].from[0].serviceSelector");
    assert!(message.contains("not a known field"), "{message}");
    assert!(consequence.contains("isolated"), "{consequence}");
    site.settle();
    assert_eq!(verdicts(), [dropped, reached, reached, dropped], "only web is isolated");
    let not_understood = "flock_compiler_problems{kind=\"policy_not_understood\"}";
    assert_eq!(site.compiler.metric(not_understood), Some(1.0));
    assert!(site.flockctl.text(&["output", "n1"]).contains("closed"));

    site.manifests.remove("future.yaml");
    site.problems(0);
    site.settle();
    assert_eq!(verdicts(), [reached, reached, reached, dropped]);
}

#[test]
fn two_pods_with_one_address_are_reported() {
    let Some(site) = Site::new("twins") else { return };
    let twin = |name: &str, node: &str, phase: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: {name}}}\n\
             spec: {{nodeName: {node}}}\nstatus: {{phase: {phase}, podIPs: [{{ip: 10.1.0.9}}]}}\n"
        )
    };
    site.manifests.put("policies.yaml", DENY);
    site.manifests.put("one.yaml", &twin("one", "n1", "Running"));
    let _agents = site.agents();
    site.settle();
    assert_eq!(site.flockctl.problems(), []);

    site.manifests.put("other.yaml", &twin("other", "n2", "Running"));
    let problems = site.problems(1);
    let Problem { object, field, message, consequence, .. } = &problems[0];
    assert_eq!((object.as_str(), field.as_str()), ("Pod shop/one", "status.podIPs"));
    for name in ["10.1.0.9", "shop/one", "shop/other"] {
        assert!(message.contains(name), "{message}");
    }
    assert!(consequence.contains("every owner"), "{consequence}");
    site.settle();

    site.manifests.put("other.yaml", &twin("other", "n2", "Succeeded"));
    site.problems(0);
    site.settle();
}
