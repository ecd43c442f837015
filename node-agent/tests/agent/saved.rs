//! The ruleset on disk: applied at start before the compiler is called, or refused.

use std::path::Path;

use flock_node_agent::journal::{Journal, JournalEntry};
use flock_node_agent::nft::Nft;
use flock_node_agent::state::StateDir;
use flock_proto::{Outcome, Position};
use flock_shared::{NodeName, Superseded};
use tempfile::TempDir;

use crate::fake_nft::{Behaviour, FakeNft};
use crate::stream::start;
use crate::updates::{at, delta, full, revision, script};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn dir(folder: &Path) -> StateDir {
    StateDir::open(folder, &NodeName::new("n1").unwrap()).unwrap()
}

/// A full script and the deltas since, each at the position of its name.
pub(crate) fn journal(names: &[&str]) -> Journal {
    let mut entries = names.iter().map(|name| JournalEntry {
        revision: revision(name),
        position: Position::new(name.as_bytes()).unwrap(),
        superseded: Superseded::default(),
        script: script(name),
    });
    let mut journal = Journal::new(entries.next().unwrap());
    entries.for_each(|delta| journal.push(delta).unwrap());
    journal
}

fn saved(folder: &Path) -> Option<Journal> {
    dir(folder).load().unwrap().map(|saved| saved.journal)
}

#[tokio::test]
async fn what_was_applied_last_is_saved() {
    let folder = folder();
    let path = folder.path().join("state");
    let (_compiler, _nft, agent, mut session) = start(|config| config.state_dir = Some(path.clone())).await;
    session.apply(at("a", full("a"))).await;
    session.apply(at("b", full("b"))).await;
    session.apply(at("c", delta("b", "c"))).await;
    session.apply(at("d", delta("c", "d"))).await;
    agent.stop().await;
    assert_eq!(saved(&path), Some(journal(&["b", "c", "d"])));
}

#[tokio::test]
async fn what_deltas_led_to_is_applied_in_one_go_before_the_first_hello() {
    let folder = folder();
    dir(folder.path()).store(&journal(&["a", "b", "c"]), None).unwrap();
    let (_compiler, nft, agent, mut session) =
        start(|config| config.state_dir = Some(folder.path().into())).await;
    let known = (session.hello.applied.clone(), session.hello.position.clone());
    assert_eq!(known, (Some(revision("c")), Position::new(b"c").unwrap()));
    let whole = ["a", "b", "c"].map(|name| script(name).bytes().to_vec()).concat();
    assert_eq!((nft.runs(), nft.run(0)), (1, whole));
    session.apply(at("d", delta("c", "d"))).await;
    agent.stop().await;
    assert_eq!(saved(folder.path()), Some(journal(&["a", "b", "c", "d"])), "the journal goes on");
}

#[tokio::test]
async fn what_nft_refuses_as_a_whole_at_start_is_applied_as_far_as_it_can_be() {
    let folder = folder();
    dir(folder.path()).store(&journal(&["a", "b"]), None).unwrap();
    let nft = FakeNft::new();
    nft.behave(Behaviour::FailOnce);
    let (_compiler, _other, agent, session) = start(|config| {
        config.state_dir = Some(folder.path().into());
        config.nft = Nft::new(nft.command().parse().unwrap(), config.check_interval);
    })
    .await;
    let known = (session.hello.applied.clone(), session.hello.position.clone());
    assert_eq!(known, (Some(revision("a")), Position::new(b"a").unwrap()), "older, and better than no table");
    assert_eq!(nft.run(1), script("a").bytes().to_vec());
    agent.stop().await;
}

#[tokio::test]
async fn what_was_saved_is_applied_before_the_first_hello() {
    let folder = folder();
    dir(folder.path()).store(&journal(&["a"]), None).unwrap();
    let (_compiler, nft, agent, session) =
        start(|config| config.state_dir = Some(folder.path().into())).await;
    assert_eq!(session.hello.applied, Some(revision("a")));
    assert_eq!((nft.runs(), nft.run(0)), (1, script("a").bytes().to_vec()));
    agent.stop().await;
}

#[tokio::test]
async fn what_the_kernel_seems_to_hold_is_applied_again_at_start() {
    let folder = folder();
    dir(folder.path()).store(&journal(&["a"]), None).unwrap();
    let (mut compiler, nft, agent, session) =
        start(|config| config.state_dir = Some(folder.path().into())).await;
    let config = agent.config.clone();
    agent.stop().await;
    drop(session);
    let agent = crate::stream::Agent::start(config);
    assert_eq!(compiler.session().await.hello.applied, Some(revision("a")));
    assert_eq!(nft.runs(), 2, "whether somebody has edited it, the marker does not tell");
    agent.stop().await;
}

#[tokio::test]
async fn what_nft_refuses_at_start_is_tried_again_while_the_compiler_is_called() {
    let folder = folder();
    dir(folder.path()).store(&journal(&["a"]), None).unwrap();
    let (_compiler, nft, agent, mut session) = start(|config| {
        config.state_dir = Some(folder.path().into());
        config.nft = Nft::new("/nonexistent/nft".parse().unwrap(), config.check_interval);
    })
    .await;
    assert_eq!(session.hello.applied, None);
    let retried = session.ack().await;
    assert_eq!((retried.revision, retried.outcome), (Some(revision("a")), Outcome::NftMissing));
    assert_eq!(nft.runs(), 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_corrupt_ruleset_is_set_aside_and_never_applied() {
    let folder = folder();
    dir(folder.path()).store(&journal(&["a"]), None).unwrap();
    let file = folder.path().join("ruleset");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() = b'x';
    std::fs::write(&file, bytes).unwrap();
    let (_compiler, nft, agent, mut session) =
        start(|config| config.state_dir = Some(folder.path().into())).await;
    assert_eq!((session.hello.applied.clone(), nft.runs()), (None, 0));
    assert!(folder.path().join("ruleset.refused").exists() && !file.exists());
    session.apply(full("b")).await;
    agent.stop().await;
    assert_eq!(saved(folder.path()).unwrap().last().revision, revision("b"));
}

#[tokio::test]
async fn a_disk_that_takes_nothing_stops_nothing() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("ruleset.new")).unwrap();
    let (_compiler, nft, agent, mut session) =
        start(|config| config.state_dir = Some(folder.path().into())).await;
    session.apply(full("a")).await;
    nft.behave(Behaviour::Take);
    session.apply(full("b")).await;
    agent.stop().await;

    let no_folder = folder.path().join("file");
    std::fs::write(&no_folder, "").unwrap();
    let (_compiler, _nft, agent, mut session) = start(|config| config.state_dir = Some(no_folder)).await;
    session.apply(full("a")).await;
    agent.stop().await;
}
