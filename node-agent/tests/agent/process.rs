//! The agent as a process: options, signals, exit status, memory.

use std::process::{Output, Stdio};

use flock_node_agent::state::StateDir;
use flock_proto::{Outcome, Update, UpdateKind};
use flock_testkit::compiler::{FakeCompiler, patiently};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::fake_nft::{Behaviour, FakeNft};
use crate::health;
use crate::saved::journal;
use crate::updates::{delta, full, large, revision};

/// An agent's process without the options of this machine's environment.
pub(crate) fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flock-node-agent"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOCK_")) {
        command.env_remove(name);
    }
    // Tests have several agents on one host.
    command
        .env("FLOCK_HEALTH_LISTEN", "none")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) async fn end(child: Child) -> Output {
    patiently(child.wait_with_output()).await.unwrap()
}

async fn output(arguments: &[&str]) -> Output {
    end(agent(arguments).spawn().unwrap()).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn wrong_options_are_exit_2_and_a_message() {
    let loopback = "http://127.0.0.1:1";
    for (arguments, message) in [
        (&[][..], "--node NAME is required"),
        (&["--node", "n1"], "--compiler URL is required"),
        (&["--node", "n1", "--compiler", "http://192.0.2.1:1"], "loopback only"),
        (&["--node", "n1", "--compiler", "https://192.0.2.1:1"], "needs --ca-file"),
        (&["--node", "N1", "--compiler", loopback], "DNS-1123"),
        (&["--node", "n1", "--compiler", loopback, "--nft", "nft '"], "unclosed quote"),
        (&["--node", "n1", "--compiler", loopback, "--nft-timeout", "0"], "above 0"),
        (&["--node", "n1", "--compiler", loopback, "--log", "a=b=c"], "--log"),
        (&["--node", "n1", "--compiler", loopback, "--bridge-nf", "1"], "check, set"),
        (&["--node", "n1", "--compiler", loopback, "--health-listen", "0.0.0.0:1"], "not on loopback"),
        (&["--node", "n1", "--compiler", loopback, "--ca-refresh", "1"], "wait, exit"),
        (&["--restore"], "--restore needs --state-dir"),
        (&["--restore", "--state-dir", "/s", "--once"], "cannot be used with"),
        (&["--check", "--once"], "cannot be used with"),
        (&["--check", "-o", "yaml"], "table, json"),
        (&["--twice"], "--twice"),
    ] {
        let output = output(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let errors = text(&output.stderr);
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
}

#[tokio::test]
async fn the_environment_gives_every_option() {
    let mut compiler = FakeCompiler::start().await;
    let nft = FakeNft::new();
    let mut command = agent(&[]);
    command.env("FLOCK_NODE", "n1").env("FLOCK_COMPILER", compiler.url()).env("FLOCK_NFT", nft.command());
    command.env("FLOCK_ONCE", "true").env("FLOCK_UNINSTALL", "false").env("FLOCK_LOG", "warn");
    command.env("FLOCK_NFT_TIMEOUT", "20").env("FLOCK_CHECK_INTERVAL", "20").env("FLOCK_BRIDGE_NF", "set");
    command.env("FLOCK_HEALTH_LISTEN", "none").env("FLOCK_CA_REFRESH", "exit");
    command.env("FLOCK_CNI_SOCKET", "/run/flock-of-a-test/cni.sock");
    let child = command.spawn().unwrap();
    let mut session = compiler.session().await;
    session.apply(full("a")).await;
    session.end().await;
    drop(session);
    let output = end(child).await;
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[tokio::test]
async fn once_fails_with_a_message() {
    let mut compiler = FakeCompiler::start().await;
    let nft = FakeNft::new();
    nft.behave(Behaviour::Fail);
    let url = compiler.url();
    let arguments = ["--node", "n1", "--compiler", &url, "--nft", &nft.command(), "--once"];
    let child = agent(&arguments).spawn().unwrap();
    let mut session = compiler.session().await;
    assert_eq!(session.ask(full("a")).await.outcome, Outcome::NftFailed);
    drop(session);
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("not applied") && errors.contains("on purpose"), "{errors}");
}

#[tokio::test]
async fn signals_end_it_with_the_rules_in_place() {
    for stop in [Signal::TERM, Signal::INT] {
        let mut compiler = FakeCompiler::start().await;
        let nft = FakeNft::new();
        let url = compiler.url();
        let (command, health) = (nft.command(), health::address().to_string());
        let options = ["--node", "n1", "--compiler", &url, "--nft", &command, "--health-listen", &health];
        let child = agent(&options).spawn().unwrap();
        let mut session = compiler.session().await;
        session.apply(full("a")).await;
        signal(&child, stop);
        session.end().await;
        drop(session);
        let output = end(child).await;
        assert_eq!(output.status.code(), Some(0), "{stop:?}");
        assert!(nft.holds(&revision("a")) && nft.runs() == 1);
        let errors = text(&output.stderr);
        assert!(!errors.contains("add table"), "the log holds the script: {errors}");
        assert!(!errors.contains("was not finished"), "something was waited for in vain: {errors}");
    }
}

#[tokio::test]
async fn a_compiler_that_is_not_there_does_not_hold_up_the_end() {
    let child = agent(&["--node", "n1", "--compiler", "http://127.0.0.1:1", "--nft", "true"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has caught the signal once its handler stands, which is before it calls anybody.
    let mut child = child;
    let mut line = String::new();
    let mut errors = tokio::io::BufReader::new(child.stderr.take().unwrap());
    while !line.contains("could not connect") {
        line.clear();
        assert!(patiently(tokio::io::AsyncBufReadExt::read_line(&mut errors, &mut line)).await.unwrap() > 0);
    }
    signal(&child, Signal::TERM);
    assert_eq!(patiently(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn uninstalling_removes_what_would_be_applied_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let file = folder.path().join("ruleset");
    let store = || {
        let dir = StateDir::open(folder.path(), &"n1".parse().unwrap()).unwrap();
        dir.store(&journal(&["a"]), None).unwrap();
    };
    store();
    std::fs::write(folder.path().join("other"), "").unwrap();
    let nft = FakeNft::new();
    let uninstall = ["--uninstall", "--nft", &nft.command(), "--state-dir", path];

    nft.behave(Behaviour::Fail);
    assert_eq!(output(&uninstall).await.status.code(), Some(1));
    assert!(file.exists(), "the table may still be there");

    nft.behave(Behaviour::Take);
    let removed = output(&uninstall).await;
    let table = "removed table inet flock_netpol, if it was there\n";
    assert_eq!(text(&removed.stdout), format!("{table}removed {}\n", file.display()));
    assert_eq!((removed.status.code(), file.exists()), (Some(0), false));
    assert!(folder.path().join("other").exists());

    let again = output(&uninstall).await;
    let none = format!("{table}no saved ruleset in {path}\n");
    assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), none));

    store();
    let nowhere = output(&["--uninstall", "--nft", &nft.command()]).await;
    assert_eq!((text(&nowhere.stdout).as_str(), file.exists()), (table, true));
    let mut command = agent(&["--uninstall", "--nft", &nft.command()]);
    let from_environment = end(command.env("FLOCK_STATE_DIR", path).spawn().unwrap()).await;
    assert_eq!((from_environment.status.code(), file.exists()), (Some(0), false));

    std::fs::create_dir(&file).unwrap();
    let failed = output(&uninstall).await;
    assert_eq!((failed.status.code(), text(&failed.stdout).as_str()), (Some(1), table));
    assert!(text(&failed.stderr).contains("removing the saved ruleset"), "{}", text(&failed.stderr));
}

#[tokio::test]
async fn uninstalling_beside_an_agent_is_refused_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let file = folder.path().join("ruleset");
    let mut compiler = FakeCompiler::start().await;
    let (nft, url) = (FakeNft::new(), compiler.url());
    let command = nft.command();
    let child =
        agent(&["--node", "n1", "--compiler", &url, "--nft", &command, "--state-dir", path]).spawn().unwrap();
    let mut session = compiler.session().await;
    session.apply(full("a")).await;
    patiently(async {
        while !file.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;

    let uninstall = ["--uninstall", "--nft", &command, "--state-dir", path];
    let refused = output(&uninstall).await;
    assert_eq!((refused.status.code(), text(&refused.stdout).as_str()), (Some(1), ""));
    let words = text(&refused.stderr);
    assert!(words.contains("an agent is running") && words.contains("stop it first"), "{words}");
    assert!(nft.holds(&revision("a")) && nft.runs() == 1 && file.exists(), "nothing was touched");

    signal(&child, Signal::KILL);
    drop(session);
    end(child).await;
    let removed = output(&uninstall).await;
    assert_eq!((removed.status.code(), file.exists()), (Some(0), false), "a lock goes with its process");
}

/// Memory of a process in kB: all that is resident, and the part of it that is no file's.
pub(crate) fn memory(child: &Child) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    };
    (kilobytes("VmRSS:"), kilobytes("RssAnon:"))
}

/// Fewer than are kept.
const DELTAS: usize = 500;

#[tokio::test]
async fn memory_does_not_grow_with_updates() {
    // Bytes that it may come to have more of its own. How much it needs in all is measured with the agent that is
    // deployed: the code of others is several times as large.
    const GROWTH: u64 = 2_000_000;
    let mut compiler = FakeCompiler::start().await;
    let url = compiler.url();
    // Nobody reads what it logs, and what it runs is not its own memory.
    let nft = "sh -c 'cat > /dev/null'";
    let address = health::address();
    let health = address.to_string();
    let options =
        ["--node", "n1", "--compiler", &url, "--nft", nft, "--log", "warn", "--health-listen", &health];
    let child = agent(&options).spawn().unwrap();
    let mut session = compiler.session().await;
    session.apply(full("first")).await;
    let (_, at_first) = memory(&child);
    for update in 0..100 {
        session.apply(full(&update.to_string())).await;
        assert_eq!(health::probe(address, "/readyz").await.0, 200);
    }
    let (resident, own) = memory(&child);
    println!(
        "after 100 updates: {resident} kB resident, {own} kB of them the agent's own, {at_first} after the first"
    );
    assert!(own.saturating_sub(at_first) * 1024 < GROWTH, "{at_first} kB of its own have become {own}");

    for update in 0..10 {
        let name = format!("large {update}");
        let kind = UpdateKind::Full(large(&name, 1 << 20));
        session.apply(Update::new(revision(&name), kind).into()).await;
    }
    let (resident, at_first) = memory(&child);
    println!("after 10 updates of 1 MiB: {resident} kB resident, {at_first} kB of them the agent's own");

    let mut last = "large 9".to_owned();
    for update in 0..DELTAS {
        let name = format!("small {update}");
        session.apply(delta(&last, &name)).await;
        last = name;
    }
    let (resident, own) = memory(&child);
    println!("after {DELTAS} deltas on that: {resident} kB resident, {own} kB of them the agent's own");
    assert!(own.saturating_sub(at_first) * 1024 < GROWTH, "{at_first} kB of its own have become {own}");
}
