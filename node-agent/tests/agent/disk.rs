//! A disk that is full or read-only, in a mount namespace: rules are applied all the same, what was saved before is not
//! lost, and the next start makes the best of what is there.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flock_shared::cni::Call;
use flock_testkit::compiler::{FakeCompiler, Session, patiently};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::cni::{LONG, answered, calling, done, sandbox};
use crate::fake_nft::FakeNft;
use crate::process::{agent, signal};
use crate::updates::{delta, full, large, revision};

/// A small file system of its own, that only who enters sees.
struct Disk {
    folder: TempDir,
    holder: Child,
}

impl Disk {
    /// `None` where such things cannot be made.
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            crate::kernel::skipped("needs root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size=64k,mode=700 tmpfs {}", folder.path().display());
        let script = format!("{mount} && echo ready && exec sleep 3600");
        let mut holder =
            Command::new("unshare").args(["-m", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let _ = holder.wait();
            crate::kernel::skipped("needs a mount namespace");
            return None;
        }
        Some(Self { folder, holder })
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn inside(&self, command: &mut tokio::process::Command) -> tokio::process::Command {
        let command = command.as_std();
        let mut inside = tokio::process::Command::new("nsenter");
        inside.args(["-t", &self.holder.id().to_string(), "-m"]).arg(command.get_program());
        inside.args(command.get_args()).kill_on_drop(true).stderr(Stdio::piped());
        inside
    }

    async fn run(&self, script: &str) -> bool {
        let mut command = tokio::process::Command::new("sh");
        patiently(self.inside(command.args(["-c", script])).status()).await.unwrap().success()
    }

    /// Writes until nothing more fits.
    async fn fill(&self) {
        let path = self.folder.path().display();
        assert!(!self.run(&format!("dd if=/dev/zero of={path}/ballast bs=1k 2> /dev/null")).await);
    }

    async fn remount(&self, how: &str) {
        assert!(self.run(&format!("mount -o remount,{how} {}", self.folder.path().display())).await);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// An agent whose ruleset is kept on that disk.
struct AgentOnDisk {
    disk: Disk,
    compiler: FakeCompiler,
    nft: FakeNft,
    child: tokio::process::Child,
    session: Session,
    /// For its socket, which all see.
    folder: TempDir,
}

impl AgentOnDisk {
    async fn new() -> Option<Self> {
        let disk = Disk::new()?;
        let (mut compiler, nft) = (FakeCompiler::start().await, FakeNft::new());
        let folder = tempfile::tempdir().unwrap();
        let child = start(&disk, &compiler, &nft, &disk.state(), &folder);
        let session = compiler.session().await;
        Some(Self { disk, compiler, nft, child, session, folder })
    }

    /// Kills the agent, and starts another one that keeps its ruleset in `state`.
    async fn restart(&mut self, state: &Path) {
        self.stop().await;
        self.start(state).await;
    }

    /// Kills the agent: nobody but the test writes to the disk then.
    async fn stop(&mut self) {
        signal(&self.child, Signal::KILL);
        self.session.end().await;
        patiently(self.child.wait()).await.unwrap();
    }

    /// Starts another agent, which keeps its ruleset in `state`.
    async fn start(&mut self, state: &Path) {
        self.child = start(&self.disk, &self.compiler, &self.nft, state, &self.folder);
        self.session = self.compiler.session().await;
    }

    /// What the next agent finds on disk.
    async fn finds(&mut self, name: &str) {
        self.restart(&self.disk.state()).await;
        assert_eq!(self.session.hello.applied, Some(revision(name)));
    }

    /// Waits until the disk holds `name`.
    async fn saved(&self, name: &str) {
        let saved = format!("grep -qs 'revision {}' {}/*", revision(name), self.disk.state().display());
        patiently(async { while !self.disk.run(&saved).await {} }).await;
    }

    /// Waits until the agent has complained.
    async fn complaint(&mut self, text: &str) {
        let mut errors = tokio::io::BufReader::new(self.child.stderr.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = tokio::io::AsyncBufReadExt::read_line(&mut errors, &mut line);
            assert!(patiently(read).await.unwrap() > 0, "it never said {text:?}");
        }
    }
}

fn start(
    disk: &Disk,
    compiler: &FakeCompiler,
    nft: &FakeNft,
    state: &Path,
    folder: &TempDir,
) -> tokio::process::Child {
    let (url, nft, socket) = (compiler.url(), nft.command(), folder.path().join("cni.sock"));
    let arguments = [
        ["--node", "n1"],
        ["--compiler", &url],
        ["--nft", &nft],
        ["--state-dir", state.to_str().unwrap()],
        ["--cni-socket", socket.to_str().unwrap()],
    ];
    disk.inside(&mut agent(&arguments.concat())).spawn().unwrap()
}

#[tokio::test]
async fn a_full_disk_stops_no_rules_and_spoils_nothing() {
    let Some(mut kept) = AgentOnDisk::new().await else { return };
    kept.session.apply(full("a")).await;
    kept.session.apply(delta("a", "b")).await;
    kept.saved("b").await;
    kept.disk.fill().await;
    // More than one block, so that a part of it would fit nowhere.
    for (base, name) in [("b", "c"), ("c", "d"), ("d", "e")] {
        let mut update = delta(base, name);
        let script = large(name, 8192);
        update.sha256 = script.hash().as_bytes().to_vec().into();
        update.script = script.bytes().clone();
        kept.session.apply(update).await;
    }
    kept.complaint("could not be saved").await;
    assert!(kept.nft.holds(&revision("e")));
    kept.finds("b").await;
    kept.session.apply(full("f")).await;
    kept.complaint("could not be saved").await;
    kept.finds("b").await;

    assert!(kept.disk.run(&format!("rm {}/ballast", kept.disk.folder.path().display())).await);
    kept.session.apply(full("g")).await;
    kept.session.apply(delta("g", "h")).await;
    kept.saved("h").await;
    kept.finds("h").await;
}

#[tokio::test]
async fn a_read_only_disk_stops_no_rules_and_its_ruleset_is_restored() {
    let Some(mut kept) = AgentOnDisk::new().await else { return };
    kept.session.apply(full("a")).await;
    kept.saved("a").await;
    kept.disk.remount("ro").await;
    kept.session.apply(delta("a", "b")).await;
    kept.complaint("could not be saved").await;
    assert!(kept.nft.holds(&revision("b")));
    kept.finds("a").await;
    kept.session.apply(full("b")).await;

    // No folder, and none can be made.
    kept.restart(&kept.disk.folder.path().join("another")).await;
    assert_eq!(kept.session.hello.applied, None);
    assert!(kept.nft.holds(&revision("b")), "what stands is left alone");
    kept.session.apply(full("c")).await;

    kept.disk.remount("rw").await;
    kept.finds("a").await;
    kept.session.apply(full("d")).await;
    kept.saved("d").await;
    kept.finds("d").await;
}

#[tokio::test]
async fn what_is_corrupt_on_a_read_only_disk_is_refused_each_time() {
    let Some(mut kept) = AgentOnDisk::new().await else { return };
    kept.session.apply(full("a")).await;
    kept.saved("a").await;
    let file = kept.disk.state().join("ruleset");
    assert!(kept.disk.run(&format!("echo accept >> {}", file.display())).await);
    kept.disk.remount("ro").await;
    for _ in 0..2 {
        let runs = kept.nft.runs();
        kept.restart(&kept.disk.state()).await;
        assert_eq!((kept.session.hello.applied.clone(), kept.nft.runs()), (None, runs));
        assert!(kept.nft.holds(&revision("a")), "what stands is left alone");
    }
    kept.session.apply(full("b")).await;
}

#[tokio::test]
async fn what_others_put_into_the_folder_is_no_ruleset() {
    let Some(mut kept) = AgentOnDisk::new().await else { return };
    kept.session.apply(full("a")).await;
    kept.saved("a").await;
    let state = kept.disk.state();
    let state = state.display();
    let anew = format!("rm -r {state}/ruleset* &&");
    let pranks = [
        (format!("{anew} mkdir {state}/ruleset"), None),
        (format!("{anew} ln -s /dev/zero {state}/ruleset"), None),
        (format!("{anew} mkfifo -m 600 {state}/ruleset"), None),
        (format!("{anew} head -c 9000 /dev/urandom > {state}/ruleset"), None),
        // Of what is there, the full script can be believed.
        (format!("rm -f {state}/*.deltas; mkfifo -m 600 {state}/ruleset.deltas"), Some(revision("3"))),
    ];
    for (number, (prank, applied)) in pranks.iter().enumerate() {
        // Not while an agent saves there: it does so behind its answer, and again if something was in the way.
        kept.stop().await;
        assert!(kept.disk.run(prank).await, "{prank}");
        kept.start(&kept.disk.state()).await;
        assert_eq!(kept.session.hello.applied, *applied, "{prank}");
        let name = number.to_string();
        kept.session.apply(full(&name)).await;
        if number == 3 {
            kept.saved(&name).await;
        }
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_stops_no_calls_of_cni() {
    let Some(mut kept) = AgentOnDisk::new().await else { return };
    let socket = kept.folder.path().join("cni.sock");
    let add = async |kept: &mut AgentOnDisk, name: &str| {
        let add = calling(&socket, Call::Add(sandbox(name, "10.0.0.1")), LONG);
        // Those of earlier ones that are gone are told, too.
        loop {
            let call = kept.compiler.call().await;
            let is_it = call.name() == format!("+{name}");
            call.done();
            if is_it {
                break;
            }
        }
        assert_eq!(answered(add).await, done());
    };
    add(&mut kept, "a").await;
    let book = kept.disk.state().join("sandboxes");
    let holds = |name: &str| format!("grep -qs '\"id\":\"{name}\"' {}", book.display());
    patiently(async { while !kept.disk.run(&holds("a")).await {} }).await;

    kept.disk.fill().await;
    kept.disk.remount("ro").await;
    add(&mut kept, "b").await;
    kept.complaint("could not be saved").await;
    assert!(kept.disk.run(&holds("a")).await && !kept.disk.run(&holds("b")).await, "it is spoilt");

    // What was refused is kept as soon as there is room, without a call.
    assert!(
        kept.disk
            .run(&format!("mount -o remount,rw {0} && rm {0}/ballast", kept.disk.folder.path().display()))
            .await
    );
    patiently(async { while !kept.disk.run(&holds("b")).await {} }).await;
}
