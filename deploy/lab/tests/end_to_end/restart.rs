//! Programs that are killed without warning and come back: the rules stay, and everything converges.

use std::fs;

use crate::ground::NODES;
use crate::manifests::{ALLOW_WEB, DENY};
use crate::site::Site;
use crate::support::wait::wait_until;

#[test]
fn a_killed_agent_leaves_the_rules_and_catches_up() {
    let Some(site) = Site::new("agent-killed") else { return };
    site.manifests.put("policies.yaml", DENY);
    let [mut agent, _other] = site.agents();
    site.settle();
    let before = site.manifests.revision("n1");

    agent.kill();
    wait_until("the compiler to notice", || !site.flockctl.node("n1").connected);
    assert!(site.ground.holds("n1", &before), "the rules outlive the agent");

    site.manifests.put("policies.yaml", &format!("{DENY}---\n{ALLOW_WEB}"));
    let after = site.manifests.revision("n1");
    site.settle_node("n2", &site.manifests.revision("n2"));
    let status = site.flockctl.node("n1");
    assert_eq!((status.desired_revision.as_ref(), status.connected), (Some(&after), false));
    assert!(site.ground.holds("n1", &before), "nobody is there to change them");

    let _agent = site.agent("n1", &[]);
    site.settle();
    assert!(!site.ground.holds("n1", &before));
}

#[test]
fn an_agent_with_a_state_folder_restores_its_rules_without_a_compiler() {
    let Some(mut site) = Site::new("state") else { return };
    site.manifests.put("policies.yaml", DENY);
    let state = site.ground.directory().join("state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let mut agent = site.agent("n1", &options);
    let revision = site.manifests.revision("n1");
    site.settle_node("n1", &revision);
    wait_until("the ruleset on disk", || {
        fs::read_to_string(state.join("ruleset")).is_ok_and(|saved| saved.contains(&revision))
    });

    agent.kill();
    let mut agent = site.agent("n1", &options);
    wait_until("the saved rules, as they may have been edited", || site.ground.scripts("n1") == 2);
    site.settle_node("n1", &revision);

    // A reboot without a compiler: no table, and nobody to ask.
    agent.kill();
    site.compiler.kill();
    site.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
    let _agent = site.agent("n1", &options);
    wait_until("the saved rules", || site.ground.holds("n1", &revision));
    assert_eq!(site.ground.scripts("n1"), 3);

    site.compiler.restart();
    site.settle_node("n1", &revision);
    assert_eq!(site.ground.scripts("n1"), 3, "what was restored is what the compiler wants");
}

#[test]
fn a_killed_compiler_leaves_the_rules_and_its_return_costs_nothing() {
    let Some(mut site) = Site::new("compiler-killed") else { return };
    site.manifests.put("policies.yaml", DENY);
    let _agents = site.agents();
    site.settle();
    let before = NODES.map(|node| site.manifests.revision(node));
    let scripts = NODES.map(|node| site.ground.scripts(node));

    site.compiler.kill();
    let hold =
        |site: &Site| NODES.iter().zip(&before).all(|(node, revision)| site.ground.holds(node, revision));
    assert!(hold(&site), "the rules outlive the compiler");

    site.compiler.restart();
    site.settle();
    assert!(hold(&site));
    assert_eq!(
        NODES.map(|node| site.ground.scripts(node)),
        scripts,
        "nothing changed, so nft has nothing to do"
    );
    wait_until("the acknowledgements", || {
        site.compiler.metric("flock_compiler_acks_total{outcome=\"unchanged\"}") == Some(2.0)
    });
    assert_eq!(site.compiler.metric("flock_compiler_updates_total{kind=\"full\"}"), Some(0.0));

    site.compiler.kill();
    site.manifests.put("policies.yaml", &format!("{DENY}---\n{ALLOW_WEB}"));
    site.compiler.restart();
    site.settle();
    assert_eq!(
        NODES.map(|node| site.ground.scripts(node)),
        scripts.map(|runs| runs + 1),
        "what changed is applied once"
    );
}
