//! A node whose nft refuses what one policy needs: its isolated pods are closed in their directions, which is said in nft's
//! words, its open pods stay open, and with the next script that is taken everything is as the policies say.

use flock_lab::{Pod, Probe, Protocol, Verdict};

use crate::site::Site;
use crate::support::wait::{wait_for, wait_until};

/// What newer kernels say to nft 1.0.6 where it swaps the bytes of a protocol.
const WORDS: &str = "Error: Could not process rule: Operation not supported";

/// Web reaches api, by these ports.
fn policy(ports: &str) -> String {
    format!(
        "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: shop, name: api}}
spec:
  podSelector: {{matchLabels: {{app: api}}}}
  policyTypes: [Ingress]
  ingress: [{{from: [{{podSelector: {{matchLabels: {{app: web}}}}}}], ports: [{ports}]}}]
"
    )
}

/// Web may send nothing.
const SILENT: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: silent}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}
";

fn reaches(from: &Pod, to: &Pod) -> bool {
    Probe::new(from, Protocol::Tcp, to.addresses()[0], 80).run().unwrap() == Verdict::Reached
}

#[test]
fn a_script_that_is_refused_twice_closes_isolated_pods_and_no_others() {
    let Some(site) = Site::new("closed") else { return };
    let [web, api] =
        [("web", "10.1.0.2"), ("api", "10.1.0.3")].map(|(name, it)| site.ground.pod("n1", name, it));
    let db = site.ground.pod("n2", "db", "10.1.0.4");
    // Ranges of ports need a map of intervals.
    let refuse = format!(
        "script=$(mktemp); cat > $script\n\
         if grep -q ranges_tcp $script; then echo '/dev/stdin:7:1-3: {WORDS}' >&2; status=1\n\
         else $nft -f - < $script; status=$?; fi\n\
         rm $script\nexit $status"
    );
    site.ground.set_trap("n1", &refuse);
    site.manifests.put("policies.yaml", &policy("{port: 80, endPort: 400}"));
    // An agent that came before would have been given the state without policies.
    let desired = site.manifests.revision("n1");
    wait_until("the policies", || {
        site.flockctl
            .nodes()
            .iter()
            .any(|node| node.node == "n1" && node.desired_revision.as_ref() == Some(&desired))
    });
    let mut agents = site.agents();

    let closed = wait_for("the closed form", || {
        let mut nodes = site.flockctl.nodes().into_iter();
        nodes.find(|node| node.node == "n1" && node.closed.is_some() && node.applied_revision.is_some())
    });
    assert!(closed.closed.as_ref().is_some_and(|words| words.contains(WORDS)), "{closed:?}");
    assert!(!closed.current && closed.applied_revision != closed.desired_revision, "{closed:?}");
    let revision = closed.applied_revision.unwrap();
    assert!(site.ground.holds("n1", &revision), "what stands is the closed form");
    let table = site.flockctl.text(&["nodes"]);
    let line = table.lines().find(|line| line.starts_with("n1")).unwrap();
    assert!(line.contains("closed") && line.contains(WORDS), "{table}");
    assert!(site.flockctl.problems().iter().any(|it| it.object == "Node n1" && it.message.contains(WORDS)));
    site.settle_node("n2", &site.manifests.revision("n2"));

    // Isolated against what comes in: also against what its policy allows.
    assert_eq!([reaches(&web, &api), reaches(&db, &api)], [false, false], "to the isolated pod");
    assert_eq!([reaches(&api, &db), reaches(&api, &web)], [true, true], "from a pod that may send");
    assert_eq!([reaches(&db, &web), reaches(&web, &db)], [true, true], "between open pods");
    let node = Probe::new(site.ground.node("n1"), Protocol::Tcp, api.addresses()[0], 80);
    assert_eq!(node.run().unwrap(), Verdict::Reached, "its own node");

    // Nothing is tried again without cause, and other objects are closed as well.
    let scripts = site.ground.scripts("n1");
    site.manifests.put("silent.yaml", SILENT);
    let again = wait_for("other objects", || {
        Some(site.flockctl.node("n1")).filter(|node| node.applied_revision.as_ref() != Some(&revision))
    });
    assert!(again.closed.is_some_and(|words| words.contains(WORDS)));
    assert_eq!(site.ground.scripts("n1"), scripts + 1, "one change of the closed form");
    assert_eq!([reaches(&web, &db), reaches(&web, &api)], [false, false], "from a pod that may not send");
    assert!(reaches(&db, &web), "to a pod that may be sent to");

    // Without the range nothing is refused. A new agent that remembers nothing is sent it at once.
    site.manifests.remove("silent.yaml");
    site.manifests.put("policies.yaml", &policy("{port: 80}"));
    let next = site.manifests.revision("n1");
    wait_until("the compiler to follow", || {
        site.flockctl.node("n1").desired_revision.as_ref() == Some(&next)
    });
    assert!(agents[0].terminate().success());
    let _agent = site.agent("n1", &[]);
    site.settle_node("n1", &next);
    let node = site.flockctl.node("n1");
    assert_eq!((node.closed, node.current), (None, true));
    assert!(!site.flockctl.problems().iter().any(|it| it.object == "Node n1"));
    assert_eq!([reaches(&web, &api), reaches(&db, &api), reaches(&web, &db)], [true, false, true]);
}
