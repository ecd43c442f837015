//! The socket at which the plugin calls: who may, how much, and how long.
//!
//! It is made beside its place and moved there, so that nobody can call before it has its mode. What is there already is
//! replaced only if it is a socket, which an agent before this one has left. Should it go, it is made anew, unless another
//! agent listens there.

use std::fs::{DirBuilder, Metadata, Permissions, remove_file, rename, set_permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flock_shared::cni::{Answer, LONGEST_LINE, Request};
use rustix::process::geteuid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::client::plain;
use super::failures::FailureKind;
use super::handler::CallHandler;
use crate::state::is_exposed;

/// Connections at once. Later ones wait to be accepted: their calls may have time left by then.
const CONNECTIONS: usize = 256;
/// The line of a call other than a list of sandboxes is no longer than this. Longer ones are read one or two at a time.
const USUAL_LINE: usize = 8 << 10;
const LONG_LINES: usize = 2;
/// How long a call may take to come, and its answer to be taken.
const COME_LIMIT: Duration = Duration::from_secs(2);
const TAKE_LIMIT: Duration = Duration::from_secs(2);
/// How often it is looked whether the socket is still there, and how soon it is tried again to make it.
const WATCH: Duration = Duration::from_secs(2);
/// After an accept that failed: the process may be out of descriptors.
const RECOVER: Duration = Duration::from_millis(100);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something else is there, which is left alone.
    #[error("what is there is no socket")]
    Taken,
    /// Who may write there could put another file in the place of the one that is made.
    #[error("its folder may be written by others than this user")]
    Exposed,
}

/// A socket that listens at its place.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file.
    file: (u64, u64),
}

impl Listening {
    /// Makes the socket, and its folder.
    ///
    /// # Errors
    /// When the system refuses, or something else is there.
    pub fn open(path: &Path) -> Result<Self, SocketError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
            // Whoever may write there could put a socket of their own in its place.
            if is_exposed(&folder.metadata()?) {
                return Err(SocketError::Exposed);
            }
        }
        match symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(SocketError::Taken),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // Left by an agent that was killed. Anything else is not this agent's to remove.
        if symlink_metadata(&beside).is_ok_and(|found| found.file_type().is_socket()) {
            remove_file(&beside)?;
        }
        // Made beside its place: it has its mode before it is found there, and replaces an earlier one at once.
        let listener = UnixListener::bind(&beside)?;
        set_permissions(&beside, Permissions::from_mode(0o600))?;
        let file = identity(&symlink_metadata(&beside)?);
        rename(&beside, path)?;
        Ok(Self { listener, path: path.to_owned(), file })
    }

    fn is_in_place(&self) -> bool {
        symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.file)
    }
}

/// Returns true if somebody listens at a path: the agent that is to take this one's place, with which nobody fights.
async fn is_answered(path: &Path) -> bool {
    matches!(timeout(RECOVER, UnixStream::connect(path)).await, Ok(Ok(_)))
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Answers calls at `path`, for ever; `listening`: what was opened there before.
pub async fn serve(path: &Path, mut listening: Option<Listening>, handler: &CallHandler) {
    let mut has_complained = listening.is_none();
    let (mut calls, long) = (JoinSet::new(), Arc::new(Semaphore::new(LONG_LINES)));
    loop {
        let Some(open) = &listening else {
            sleep(WATCH).await;
            listening = opened(path, &mut has_complained);
            continue;
        };
        tokio::select! {
            accepted = open.listener.accept(), if calls.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let (handler, long) = (handler.clone(), Arc::clone(&long));
                    calls.spawn(async move { converse(stream, &handler, &long).await });
                }
                Err(error) => {
                    handler.failed(FailureKind::Failed, "none", None, &error.to_string());
                    sleep(RECOVER).await;
                }
            },
            Some(_) = calls.join_next() => {}
            () = sleep(WATCH) => if !open.is_in_place() && !is_answered(path).await {
                warn!(path = %path.display(), "the CNI socket is gone, and is made anew");
                listening = opened(path, &mut has_complained);
            },
        }
    }
}

/// Opens the socket; says once that it cannot be, and when it can.
pub(super) fn opened(path: &Path, has_complained: &mut bool) -> Option<Listening> {
    match Listening::open(path) {
        Ok(listening) => {
            *has_complained = false;
            info!(path = %path.display(), "calls of the CNI plugin are answered");
            Some(listening)
        }
        Err(error) => {
            if !std::mem::replace(has_complained, true) {
                warn!(path = %path.display(), %error, "there is no CNI socket; it is tried again");
            }
            None
        }
    }
}

async fn converse(mut stream: UnixStream, handler: &CallHandler, long: &Semaphore) {
    let answer = match heard(&mut stream, long).await {
        Ok(request) => handler.answer(request).await,
        Err(why) => {
            handler.failed(FailureKind::Improper, "none", None, &why);
            Answer::Refused(why)
        }
    };
    // What is made of words and lists can be written.
    let mut line = serde_json::to_vec(&answer).unwrap_or_default();
    line.push(b'\n');
    // A receiver that is gone needs no message.
    let _ = timeout(TAKE_LIMIT, stream.write_all(&line)).await;
}

/// The call that comes, if whoever calls may; otherwise what is wrong, for people.
async fn heard(stream: &mut UnixStream, long: &Semaphore) -> Result<Request, String> {
    let uid = stream.peer_cred().map_err(|error| error.to_string())?.uid();
    if !may_call(uid) {
        return Err(format!("user {uid} may not call"));
    }
    let line = timeout(COME_LIMIT, line(stream, long)).await;
    let line = line.map_err(|_| format!("no whole line came within {COME_LIMIT:?}"))??;
    serde_json::from_slice(&line).map_err(|error| plain(&format!("no call: {error}")))
}

/// Root calls, or whoever the agent runs as, who could do to it what they like.
fn may_call(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// One line, without its end.
async fn line(stream: &mut UnixStream, long: &Semaphore) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    if !read_line(stream, &mut line, USUAL_LINE).await? {
        // Few calls are as long, and memory is bounded: the others wait.
        let _permit = long.acquire().await.map_err(|error| error.to_string())?;
        if !read_line(stream, &mut line, LONGEST_LINE).await? || line.len() > LONGEST_LINE {
            return Err(format!("the line is longer than {LONGEST_LINE} bytes"));
        }
    }
    Ok(line)
}

/// Reads on. Returns true if the line is at its end, which was not beyond the limit.
async fn read_line(stream: &mut UnixStream, line: &mut Vec<u8>, limit: usize) -> Result<bool, String> {
    let mut piece = [0; 1024];
    while line.len() <= limit {
        let count = stream.read(&mut piece).await.map_err(|error| error.to_string())?;
        let piece = piece.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Err("the connection ended before its line".to_owned());
        }
        match piece.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                line.extend_from_slice(piece.get(..end).unwrap_or_default());
                return Ok(true);
            }
            None => line.extend_from_slice(piece),
        }
    }
    Ok(false)
}
