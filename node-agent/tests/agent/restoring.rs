//! `--restore`: the saved ruleset back in place after a boot, with nobody to ask; and beside whom that is not done.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use flock_node_agent::state::{self, Share, StateDir};
use flock_shared::cni::{Answer, Call};
use flock_testkit::compiler::patiently;
use rustix::process::Signal;

use crate::cni::{answered, calling, sandbox};
use crate::drift::around;
use crate::fake_nft::{Behaviour, FakeNft};
use crate::kernel::Namespace;
use crate::process::{agent, end, signal};
use crate::saved::journal;
use crate::stage;
use crate::stage::{Stage, until};
use crate::updates::revision;

async fn restore(folder: &Path, nft: &str, more: &[&str]) -> Output {
    let options = ["--restore", "--state-dir", folder.to_str().unwrap(), "--nft", nft];
    end(agent(&[&options[..], more].concat()).spawn().unwrap()).await
}

/// Exit status, and what was said.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn succeeds(output: &Output, words: &str) {
    let (code, said) = said(output);
    assert!(code == Some(0) && said.contains(words), "{code:?}: {said}");
}

fn fails(output: &Output, words: &str) {
    let (code, said) = said(output);
    assert!(code == Some(1) && said.contains(words), "{code:?}: {said}");
}

/// Every file of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// Kills the agent of a stage, as when the node goes down.
pub(crate) async fn down(stage: &mut Stage) {
    signal(&stage.child, Signal::KILL);
    stage.session.end().await;
    patiently(stage.child.wait()).await.unwrap();
    stage.edit("delete table inet flock_netpol");
}

#[tokio::test]
async fn what_an_agent_saved_is_back_byte_for_byte_and_once_is_enough() {
    let Some(mut stage) = Stage::new("restoring").await else { return };
    down(&mut stage).await;
    let (nft, state) = (stage.namespace.nft(), stage.state.path().to_owned());
    let before = files(&state);
    let done = restore(&state, &nft, &[]).await;
    succeeds(&done, &format!("restored {} of node n1", revision("1")));
    assert_eq!(stage.namespace.table(), stage.table);
    assert_eq!(files(&state), before, "on disk everything stays as it is");

    let handles = stage.namespace.list("-a list table inet flock_netpol");
    succeeds(&restore(&state, &nft, &["--node", "n1"]).await, "judges already");
    assert_eq!(stage.namespace.list("-a list table inet flock_netpol"), handles, "nobody touched it");

    // What a restore that was killed has left judges nothing.
    stage.edit("delete table inet flock_netpol");
    stage
        .edit("table inet flock_netpol { set pods4_0000000000000000bbbbbbbbbbbbbbbb { typeof ip saddr; }; }");
    succeeds(&restore(&state, &nft, &[]).await, "restored");
    assert_eq!(stage.namespace.table(), stage.table);

    // The agent that comes then goes on from there.
    stage.child = stage::start(&stage.arguments);
    stage.session = stage.compiler.session().await;
    assert_eq!(stage.session.hello.applied, Some(revision("1")));
    stage.stop().await;
}

#[tokio::test]
async fn an_agent_that_runs_is_left_alone() {
    let Some(mut stage) = Stage::new("restoring-beside").await else { return };
    let (nft, state) = (stage.namespace.nft(), stage.state.path().to_owned());
    // Even if nothing judges: it is about to mend that.
    let nothing = Namespace::new("restoring-nowhere").unwrap();
    succeeds(&restore(&state, &nothing.nft(), &[]).await, "left to the agent");
    assert!(!nothing.succeeds("list table inet flock_netpol"));
    let handles = stage.namespace.list("-a list table inet flock_netpol");
    succeeds(&restore(&state, &nft, &[]).await, "left to the agent");
    assert_eq!(stage.namespace.list("-a list table inet flock_netpol"), handles);
    assert_eq!(stage.drifts().await, 0);
    // One that has no such folder, and whose rules are its own.
    let other = tempfile::tempdir().unwrap();
    let dir = StateDir::open(other.path(), &"n1".parse().unwrap()).unwrap();
    dir.store(&journal(&["old"]), None).unwrap();
    succeeds(&restore(other.path(), &nft, &[]).await, "judges already");
    assert_eq!((stage.drifts().await, stage.namespace.table()), (0, stage.table.clone()));
    stage.stop().await;
}

/// A folder with the ruleset of n1.
fn saved() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &"n1".parse().unwrap()).unwrap();
    dir.store(&journal(&["a", "b"]), None).unwrap();
    folder
}

#[tokio::test]
async fn what_is_not_this_nodes_or_not_as_it_was_written_is_refused_and_stays() {
    let nft = FakeNft::new();
    let folder = saved();
    let (path, file) = (folder.path(), folder.path().join("ruleset"));
    fails(&restore(path, &nft.command(), &["--node", "n2"]).await, "it is the ruleset of node n1");
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 10, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        fails(&restore(path, &nft.command(), &[]).await, "it is not what this agent wrote");
    }
    assert!(file.exists() && !path.join("ruleset.refused").exists(), "that is for the agent to say");
    std::fs::write(&file, &whole).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    fails(&restore(path, &nft.command(), &[]).await, "may be written by others");
    assert_eq!(nft.runs(), 0);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();

    // A torn end is left out, as when an agent starts.
    let deltas = path.join("ruleset.deltas");
    let delta = std::fs::read(&deltas).unwrap();
    std::fs::write(&deltas, &delta[..delta.len() - 1]).unwrap();
    succeeds(&restore(path, &nft.command(), &[]).await, &format!("restored {}", revision("a")));
    assert!(nft.holds(&revision("a")));
}

#[tokio::test]
async fn where_nothing_was_saved_nothing_is_done() {
    let nft = FakeNft::new();
    let folder = tempfile::tempdir().unwrap();
    succeeds(&restore(folder.path(), &nft.command(), &[]).await, "nothing was saved");
    let nowhere = folder.path().join("none");
    succeeds(&restore(&nowhere, &nft.command(), &[]).await, "nothing was saved");
    assert!(!nowhere.exists());
    assert_eq!(nft.runs(), 0);
}

#[tokio::test]
async fn an_nft_that_is_missing_refuses_or_hangs_is_told_and_ends_it() {
    let folder = saved();
    fails(&restore(folder.path(), "/nonexistent/nft", &[]).await, "could not be started");
    let nft = FakeNft::new();
    nft.behave(Behaviour::Fail);
    fails(&restore(folder.path(), &nft.command(), &[]).await, "on purpose");
    assert_eq!(nft.runs(), 2, "the whole, then without the delta");
    nft.behave(Behaviour::FailOnce);
    succeeds(&restore(folder.path(), &nft.command(), &[]).await, &format!("restored {}", revision("a")));

    // Of its own accord: a node that starts waits behind it.
    nft.lose(&revision("a"));
    nft.behave(Behaviour::Hang);
    fails(&restore(folder.path(), &nft.command(), &["--restore-timeout", "1"]).await, "");
    fails(&restore(folder.path(), "sh -c 'exec sleep 600'", &["--restore-timeout", "1"]).await, "");
}

#[tokio::test]
async fn an_agent_waits_for_whoever_restores() {
    let folder = saved();
    let claim = state::claim(folder.path(), Share::Alone).unwrap().unwrap();
    assert!(state::claim(folder.path(), Share::WithAgents).unwrap().is_none());
    let nft = FakeNft::new();
    let path = folder.path().to_str().unwrap();
    let options = ["--node", "n1", "--compiler", "http://127.0.0.1:1", "--state-dir", path];
    let child = agent(&[&options[..], &["--nft", &nft.command()]].concat()).spawn().unwrap();
    // It has been there for a while.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(nft.runs(), 0);
    drop(claim);
    until(|| nft.holds(&revision("b"))).await;
    assert!(state::claim(folder.path(), Share::Alone).unwrap().is_none(), "it works with the folder");
    assert!(state::claim(folder.path(), Share::WithAgents).unwrap().is_some(), "so may the next one");
    signal(&child, Signal::TERM);
    end(child).await;
    assert!(state::claim(folder.path(), Share::Alone).unwrap().is_some());
}

/// With the CNI plugin, a pod waits for the table, and not only for the compiler's word: there may be none.
#[tokio::test]
async fn after_a_boot_a_call_is_answered_once_the_table_stands_also_without_a_compiler() {
    let Some(mut stage) = Stage::new("restoring-cni").await else { return };
    down(&mut stage).await;
    let folder = tempfile::tempdir().unwrap();
    let [gate, trigger, socket] = ["gate", "trigger", "cni.sock"].map(|name| folder.path().join(name));
    std::fs::write(&gate, "").unwrap();
    std::fs::write(&trigger, "").unwrap();
    let held = format!("while test -e {}; do sleep 0.02; done", gate.display());
    stage.change("--nft", &around(&stage.namespace, &trigger, &held, "true"));
    stage.change("--compiler", "http://127.0.0.1:1");
    let mut arguments = stage.arguments.clone();
    arguments.extend(["--cni-socket".to_owned(), socket.to_str().unwrap().to_owned()]);
    stage.child = stage::start(&arguments);
    let call = calling(&socket, Call::Add(sandbox("a", "10.0.0.1")), 200);
    until(|| socket.exists() && !trigger.exists()).await;
    // Far longer than the call has time.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(!call.is_finished() && !stage.namespace.succeeds("list table inet flock_netpol"));
    std::fs::remove_file(&gate).unwrap();
    let Answer::Failed(why) = answered(call).await else { panic!("there is no compiler") };
    assert_eq!(stage.namespace.table(), stage.table, "{why}");
    signal(&stage.child, Signal::TERM);
    patiently(stage.child.wait()).await.unwrap();
}
