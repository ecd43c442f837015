//! Agents and compilers that are killed between an update and its ack.

use std::fs;

use crate::ground::NODES;
use crate::support::wait::{wait_for, wait_until};

/// Waits for `$trap.go`, at most half a minute. It leaves its process id in `$trap.held`.
const HOLD: &str = "rm $trap; echo $$ > $trap.held\n\
                    for i in $(seq 600); do [ -e $trap.go ] && break; sleep 0.05; done; rm -f $trap.go\n";

#[test]
fn an_agent_killed_between_an_update_and_its_ack_catches_up() {
    let Some(site) = super::site("killed") else { return };
    let mut agents = site.agents_by_way_of(&site.compiler.url());
    let trap = site.ground.directory().join("nft-n1.trap");
    let (held, go) = (trap.with_extension("trap.held"), trap.with_extension("trap.go"));
    // Where nft is when its agent dies: before the commit, and it goes on without it; after the commit.
    let moments = [("before", HOLD.to_owned()), ("after", format!("$nft \"$@\"\n{HOLD}exit 0"))];
    for (number, (moment, commands)) in (10..).zip(&moments) {
        site.ground.set_trap("n1", commands);
        site.change(number);
        wait_until("nft", || held.exists());
        agents[0].kill();
        wait_until("the compiler to notice", || !site.flockctl.node("n1").connected);
        // What nft was told is no longer what is wanted.
        site.change(number + 100);
        agents[0] = site.agent("n1", &[]);
        site.converges(&format!("{moment}-1"));
        // The nft of the killed agent commits only now, or ends.
        let orphan: u32 = fs::read_to_string(&held).unwrap().trim().parse().unwrap();
        fs::write(&go, "").unwrap();
        wait_until("the orphan's end", || !fs::exists(format!("/proc/{orphan}")).unwrap());
        let wanted = site.manifests.revision("n1");
        wait_until("the right table", || site.ground.holds("n1", &wanted));
        site.converges(&format!("{moment}-2"));
        fs::remove_file(&held).unwrap();
    }
}

#[test]
fn a_compiler_killed_between_an_update_and_its_ack_learns_what_stands() {
    let Some(mut site) = super::site("killed-compiler") else { return };
    let _agents = site.agents_by_way_of(&site.compiler.url());
    let trap = site.ground.directory().join("nft-n1.trap");
    let (held, go) = (trap.with_extension("trap.held"), trap.with_extension("trap.go"));
    site.ground.set_trap("n1", HOLD);
    site.change(10);
    wait_until("nft", || held.exists());
    site.compiler.kill();
    site.change(11);
    site.compiler.restart();
    fs::write(&go, "").unwrap();
    site.converges("restarted");

    // A compiler that knows nothing of the states that the agents are in.
    site.compiler.kill();
    site.change(12);
    site.compiler.restart();
    site.converges("unknown");
    let connected = wait_for("both agents", || {
        let nodes = site.flockctl.nodes();
        nodes.iter().all(|node| node.connected).then_some(nodes.len())
    });
    assert_eq!(connected, NODES.len());
}
