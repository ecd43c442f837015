//! Ends that were asked for: prompt, clean, and never the end of the rules, until those are asked to go.

use crate::ground::NODES;
use crate::manifests::DENY;
use crate::site::Site;
use crate::support::process::Process;
use crate::support::programs::{AGENT, program};

#[test]
fn sigterm_ends_everything_but_the_rules() {
    let Some(mut site) = Site::new("sigterm") else { return };
    site.manifests.put("policies.yaml", DENY);
    let mut agents = site.agents();
    site.settle();
    let revisions = NODES.map(|node| site.manifests.revision(node));
    let hold =
        |site: &Site| NODES.iter().zip(&revisions).all(|(node, revision)| site.ground.holds(node, revision));

    // With streams open: those of both agents, and a watch.
    let watch = site.flockctl.command(&["watch", "n1"]);
    let mut watch = Process::start(watch, site.ground.directory());
    watch.line("n1");
    assert_eq!(site.compiler.process.terminate().code(), Some(0));
    assert!(site.compiler.process.log().contains("stopping"));
    assert!(hold(&site), "the rules outlive the compiler");

    // With nobody there to say goodbye to.
    for agent in &mut agents {
        assert_eq!(agent.terminate().code(), Some(0));
        assert!(agent.log().contains("the rules stay in place"));
    }
    assert!(hold(&site), "the rules outlive the agents");

    // With a stream open.
    site.compiler.restart();
    let mut agent = site.agent("n1", &[]);
    site.settle_node("n1", &revisions[0]);
    // An agent without a folder is known by the table that it puts back.
    let mut command = program(AGENT);
    command.args(["--uninstall", "--nft", &site.ground.nft("n1")]);
    let mut uninstall = Process::start(command, site.ground.directory());
    assert_eq!(uninstall.ended().code(), Some(1));
    assert!(uninstall.log().contains("it has put table inet flock_netpol back"), "{}", uninstall.log());
    assert_eq!(agent.terminate().code(), Some(0));
    assert!(hold(&site));

    for _ in 0..2 {
        let mut command = program(AGENT);
        command.args(["--uninstall", "--nft", &site.ground.nft("n1")]);
        assert_eq!(Process::start(command, site.ground.directory()).ended().code(), Some(0));
        assert!(!site.ground.has_table("n1"), "removed, or removed already");
    }
    assert!(site.ground.holds("n2", &revisions[1]), "another node's rules are not concerned");
}
