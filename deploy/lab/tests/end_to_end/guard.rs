//! Rules that something else removes or replaces: the agent brings them back, with or without a compiler.

use flock_lab::{Probe, Protocol, Verdict};

use crate::manifests::DENY;
use crate::site::Site;
use crate::support::wait::wait_until;

#[test]
fn a_table_changed_behind_the_agent_is_applied_again() {
    let Some(mut site) = Site::new("guard") else { return };
    site.manifests.put("policies.yaml", DENY);
    let web = site.ground.pod("n1", "web", "10.1.0.2");
    let db = site.ground.pod("n2", "db", "10.1.0.4");
    let _agent = site.agent("n1", &["--check-interval", "0.3"]);
    let revision = site.manifests.revision("n1");
    site.settle_node("n1", &revision);
    let probe = Probe::new(&db, Protocol::Tcp, web.addresses()[0], 80);
    assert_eq!(probe.run().unwrap(), Verdict::Dropped);

    let changes = [
        ("delete table inet flock_netpol", "a deleted table"),
        ("delete table inet flock_netpol; add table inet flock_netpol", "a table of someone else"),
    ];
    for (change, what) in changes {
        let scripts = site.ground.scripts("n1");
        site.ground.node("n1").nft(change).unwrap();
        wait_until(what, || site.ground.holds("n1", &revision));
        assert_eq!(probe.run().unwrap(), Verdict::Dropped, "{what}");
        assert_eq!(site.ground.scripts("n1"), scripts + 1, "{what} is brought back once");
    }

    site.compiler.kill();
    site.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
    wait_until("the table without a compiler", || site.ground.holds("n1", &revision));
    site.compiler.restart();
    site.settle_node("n1", &revision);
}

#[test]
fn an_edit_inside_the_table_is_put_right_and_counted() {
    let Some(site) = Site::new("drift") else { return };
    site.manifests.put("policies.yaml", DENY);
    let web = site.ground.pod("n1", "web", "10.1.0.2");
    let db = site.ground.pod("n2", "db", "10.1.0.4");
    let _agents = site.agents();
    site.settle();
    let probe = Probe::new(&db, Protocol::Tcp, web.addresses()[0], 80);
    assert_eq!(probe.run().unwrap(), Verdict::Dropped);
    let opening =
        "insert rule inet flock_netpol ingress accept; insert rule inet flock_netpol ingress_denied accept";
    for drifts in 1..3 {
        site.ground.node("n1").nft(opening).unwrap();
        wait_until("the repair", || site.flockctl.node("n1").drifts == drifts);
        assert_eq!(probe.run().unwrap(), Verdict::Dropped);
        assert_eq!(site.compiler.metric("flock_compiler_drifts_total"), Some(f64::from(drifts)));
    }
    let listed = site.flockctl.text(&["nodes"]);
    let (heading, n1) = (listed.lines().next().unwrap(), listed.lines().nth(1).unwrap());
    let column = heading.find("DRIFTS").unwrap();
    assert_eq!(n1[column..].split_whitespace().next(), Some("2"), "{listed}");
    assert_eq!(site.flockctl.node("n2").drifts, 0);
}
