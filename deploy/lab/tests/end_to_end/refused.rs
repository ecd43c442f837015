//! Scripts that are not applied, as the agent refuses them or nft does: the table stays, and it is told.

use flock_proto::{Outcome, Update, UpdateKind, v1};
use flock_shared::{Revision, Script};
use flock_testkit::compiler::BlockingCompiler;

use crate::ground::{Ground, REFUSAL};
use crate::manifests::{CLUSTER, DENY, Manifests, revision_of};
use crate::site::Site;
use crate::support::wait::wait_for;

fn update(script: Vec<u8>) -> v1::Update {
    let revision: Revision = revision_of(&script).parse().unwrap();
    Update::new(revision, UpdateKind::Full(Script::new(script))).into()
}

#[test]
fn a_corrupted_script_is_refused_and_reaches_no_nft() {
    let Some(ground) = Ground::new("refused") else { return };
    let manifests = Manifests::new(ground.directory());
    manifests.put("cluster.yaml", CLUSTER);
    let good = manifests.render("n1");
    manifests.put("deny.yaml", DENY);
    let next = manifests.render("n1");
    let [before, after] = [&good, &next].map(|script| revision_of(script));

    let mut compiler = BlockingCompiler::start();
    let mut agent = ground.agent("n1", &compiler.url, &[]);
    let mut session = compiler.session();
    assert_eq!((session.hello().node.as_str(), session.hello().applied.as_ref()), ("n1", None));
    assert_eq!(session.ask(update(good)).outcome, Outcome::Applied);
    assert!(ground.holds("n1", &before));

    let whole = update(next);
    let mut flipped = whole.script.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = whole.script.slice(..whole.script.len() - 1);
    let other_hash = Script::new("").hash().as_bytes().to_vec();
    for (corrupted, what) in [
        (v1::Update { script: flipped.into(), ..whole.clone() }, "a flipped bit"),
        (v1::Update { script: cut, ..whole.clone() }, "a missing byte"),
        (v1::Update { sha256: other_hash.into(), ..whole.clone() }, "a wrong hash"),
    ] {
        let ack = session.ask(corrupted);
        assert_eq!(ack.outcome, Outcome::HashMismatch, "{what}: {}", ack.error);
        assert!(ack.error.contains("SHA-256"), "{what}: {}", ack.error);
        assert_eq!(ack.revision.map(|it| it.to_string()), Some(after.clone()), "{what}");
        assert_eq!(ground.scripts("n1"), 1, "{what} reached nft");
        assert!(ground.holds("n1", &before), "{what}");
    }

    assert_eq!(session.ask(whole).outcome, Outcome::Applied, "the stream goes on");
    assert!(ground.holds("n1", &after));
    drop(session);
    assert!(agent.terminate().success());
}

#[test]
fn what_nft_refuses_is_told_and_tried_again() {
    let Some(site) = Site::new("nft-refuses") else { return };
    let _agents = site.agents();
    site.settle();
    let before = site.manifests.revision("n1");

    site.ground.refuse_scripts("n1", true);
    site.manifests.put("policies.yaml", DENY);
    let after = site.manifests.revision("n1");
    let failing =
        wait_for("the failure", || Some(site.flockctl.node("n1")).filter(|it| it.last_outcome.is_some()));
    assert_eq!(failing.last_outcome.as_deref(), Some("nft_failed"));
    assert!(failing.last_error.is_some_and(|error| error.contains(REFUSAL)));
    assert_eq!(
        (failing.desired_revision, failing.applied_revision),
        (Some(after.clone()), Some(before.clone()))
    );
    assert!(site.ground.holds("n1", &before), "what stood before stands");
    let table = site.flockctl.text(&["nodes"]);
    assert!(table.contains("failing") && table.contains("refused on purpose"), "{table}");
    site.settle_node("n2", &site.manifests.revision("n2"));

    site.ground.refuse_scripts("n1", false);
    site.settle_node("n1", &after);
    assert_eq!(site.flockctl.node("n1").last_outcome, None);
}
