//! The socket at which the CNI plugin calls: who may, how much, how long, and what else may be in its place.

use std::fs::{Permissions, metadata, remove_file, set_permissions, write};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flock_shared::cni::{Answer, Call, LONGEST_LINE, Request};
use flock_testkit::compiler::{FakeCompiler, Session, patiently};
use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::cni::{call, done, id, said};
use crate::fake_nft::FakeNft;
use crate::kernel::skipped;
use crate::stage::until;
use crate::stream::{Agent, start};

/// An agent that listens, with a folder for its socket.
struct Listening {
    socket: PathBuf,
    folder: TempDir,
    _running: (FakeCompiler, FakeNft, Agent, Session),
}

impl Listening {
    async fn new(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cni.sock");
        prepare(&socket);
        let running = start(|config| config.cni_socket = Some(socket.clone())).await;
        Self { socket, folder, _running: running }
    }

    async fn is_well(&self) {
        assert_eq!(call(&self.socket, Call::Status, 60_000).await, Some(done()));
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn refused(answer: Option<Answer>, part: &str) {
    let Some(Answer::Refused(why)) = answer else { panic!("{answer:?}") };
    assert!(why.contains(part), "{why}");
}

#[tokio::test]
async fn it_is_for_root_alone_and_replaces_what_an_agent_before_has_left() {
    let listening = Listening::new(|socket| drop(UnixListener::bind(socket).unwrap())).await;
    listening.is_well().await;
    assert_eq!(metadata(&listening.socket).unwrap().permissions().mode() & 0o777, 0o600);
    let left = std::fs::read_dir(listening.folder.path()).unwrap().count();
    assert_eq!(left, 1, "nothing is left beside it");
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone_and_waited_for() {
    let listening = Listening::new(|socket| write(socket, "somebody's").unwrap()).await;
    assert_eq!(std::fs::read_to_string(&listening.socket).unwrap(), "somebody's");
    remove_file(&listening.socket).unwrap();
    listening.is_well().await;
    // The same while the agent runs; a link is nobody's socket either.
    remove_file(&listening.socket).unwrap();
    let elsewhere = listening.folder.path().join("elsewhere");
    let stranger = UnixListener::bind(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &listening.socket).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert!(!is_socket(&listening.socket));
    drop(stranger);
    remove_file(&listening.socket).unwrap();
    listening.is_well().await;
}

/// Whoever may write there could have the agent change the mode of any file, by a link in the right moment.
#[tokio::test]
async fn there_is_none_in_a_folder_of_everybody() {
    let folder = tempfile::tempdir().unwrap();
    set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let socket = folder.path().join("cni.sock");
    let (_compiler, _nft, agent, _session) = start(|config| config.cni_socket = Some(socket.clone())).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    until(|| is_socket(&socket)).await;
    agent.stop().await;
}

#[tokio::test]
async fn it_is_made_anew_when_it_is_gone() {
    let listening = Listening::new(|_| ()).await;
    listening.is_well().await;
    remove_file(&listening.socket).unwrap();
    until(|| is_socket(&listening.socket)).await;
    listening.is_well().await;
    // Another agent's, which has ended.
    remove_file(&listening.socket).unwrap();
    drop(UnixListener::bind(&listening.socket).unwrap());
    let number = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::symlink_metadata(path).unwrap());
    let other = number(&listening.socket);
    until(|| is_socket(&listening.socket) && number(&listening.socket) != other).await;
    listening.is_well().await;
    // One that is there.
    remove_file(&listening.socket).unwrap();
    let next = UnixListener::bind(&listening.socket).unwrap();
    let other = number(&listening.socket);
    patiently(tokio::task::spawn_blocking(move || next.accept().map(drop))).await.unwrap().unwrap();
    assert_eq!(number(&listening.socket), other, "it is left to who listens there");
    until(|| number(&listening.socket) != other).await;
    listening.is_well().await;
}

#[tokio::test]
async fn another_user_may_not_call_whatever_the_mode() {
    if !geteuid().is_root() {
        return skipped("needs root");
    }
    let listening = Listening::new(|_| ()).await;
    listening.is_well().await;
    set_permissions(listening.folder.path(), Permissions::from_mode(0o755)).unwrap();
    set_permissions(&listening.socket, Permissions::from_mode(0o666)).unwrap();
    let program = "use IO::Socket::UNIX; $SIG{PIPE} = q(IGNORE); $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 9; \
                   print $s qq({\"call\":\"status\",\"within_ms\":1000}\\n); $s->flush; print <$s>;";
    let ask = |uid: u32| {
        let mut perl = Command::new("perl");
        perl.args(["-e", program]).arg(&listening.socket).uid(uid);
        tokio::task::spawn_blocking(move || perl.output())
    };
    let Ok(own) = patiently(ask(0)).await.unwrap() else { return skipped("needs perl") };
    let own: Answer = serde_json::from_slice(&own.stdout).unwrap();
    assert_eq!(own, done());
    let other = patiently(ask(65534)).await.unwrap().unwrap();
    refused(serde_json::from_slice(&other.stdout).ok(), "user 65534 may not call");
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let listening = Listening::new(|_| ()).await;
    for line in ["\n", "{}\n", "\u{0}\n", "[[[[[[[[[[\n", "{\"call\":\"status\",\"within_ms\":-1}\n"] {
        refused(said(&listening.socket, line).await, "no call");
    }
    let nested = format!("{}\n", "[".repeat(100_000));
    refused(said(&listening.socket, &nested).await, "no call");
    let long = format!("{}\n", " ".repeat(LONGEST_LINE + 1));
    refused(said(&listening.socket, &long).await, "longer");
    let endless = "x".repeat(2 * LONGEST_LINE);
    refused(said(&listening.socket, &endless).await, "longer");

    // As long as it may be.
    let ids = (0..3500).map(|number| id(&format!("{number:064}"))).collect();
    let mut line =
        serde_json::to_string(&Request { call: Call::Gc(ids), network: None, within_ms: 60_000 }).unwrap();
    line.push_str(&" ".repeat(LONGEST_LINE - line.len()));
    line.push('\n');
    assert_eq!(said(&listening.socket, &line).await, Some(done()));
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for() {
    let listening = Listening::new(|_| ()).await;
    listening.is_well().await;
    // Part of a line, and one byte after the other.
    let mut part = UnixStream::connect(&listening.socket).await.unwrap();
    part.write_all(b"{\"call\":").await.unwrap();
    let (read, mut write) = UnixStream::connect(&listening.socket).await.unwrap().into_split();
    let drop_by_drop = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let mut answers = [String::new(), String::new()];
    patiently(BufReader::new(part).read_line(&mut answers[0])).await.unwrap();
    patiently(BufReader::new(read).read_line(&mut answers[1])).await.unwrap();
    drop_by_drop.abort();
    for answer in answers {
        refused(serde_json::from_str(&answer).ok(), "no whole line");
    }
    // And who ends before a line.
    drop(UnixStream::connect(&listening.socket).await.unwrap());
    listening.is_well().await;
}

#[tokio::test]
async fn of_too_many_connections_the_later_ones_wait() {
    let listening = Listening::new(|_| ()).await;
    listening.is_well().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(patiently(UnixStream::connect(&listening.socket)).await.unwrap());
    }
    listening.is_well().await;
    for stream in idle {
        let mut answer = String::new();
        patiently(BufReader::new(stream).read_line(&mut answer)).await.unwrap();
        refused(serde_json::from_str(&answer).ok(), "no whole line");
    }
}
