//! An agent that answers what the test wants, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use flock_shared::cni::{Answer, Call, Reach, Request};

/// What it does with a call; without an answer, the connection is closed.
type Says = dyn Fn(&Call) -> Option<Answer> + Send + Sync;

/// An agent on a Unix socket. Dropping it leaves its socket to nobody.
pub(crate) struct Agent {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<Call>>>,
}

pub(crate) fn done() -> Answer {
    Answer::Done { reach: Reach::Everywhere, behind: Vec::new() }
}

impl Agent {
    /// One that answers as `says`.
    pub(crate) fn start(
        socket: &Path,
        says: impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (says, calls): (Arc<Says>, _) = (Arc::new(says), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (says, calls) = (Arc::clone(&says), Arc::clone(&calls));
                // Whoever drops the agent connects once more, and says nothing.
                let Some(request) = stream.as_ref().ok().and_then(read) else { return };
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    calls.lock().unwrap().push(request.call.clone());
                    let Some(answer) = says(&request.call) else { return };
                    let line = serde_json::to_string(&answer).unwrap();
                    // It may have given up.
                    let _ = stream.write_all(format!("{line}\n").as_bytes());
                });
            }
        });
        Self { socket: socket.to_owned(), asked }
    }

    /// What it was asked since it was asked this.
    pub(crate) fn asked(&self) -> Vec<Call> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn read(stream: &UnixStream) -> Option<Request> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(UnixStream::connect(&self.socket));
        let _ = std::fs::remove_file(&self.socket);
    }
}
