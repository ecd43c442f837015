//! A TCP proxy that cuts a connection in the middle of what the compiler says.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;

/// No cut is due.
const NEVER: i64 = i64::MAX;

/// A proxy that listens on a loopback port; its threads end with their connections.
pub(super) struct Cutter {
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    left: Arc<AtomicI64>,
    cuts: Arc<AtomicUsize>,
}

impl Cutter {
    /// A proxy to what listens at `http://ADDRESS`.
    pub(super) fn start(compiler: &str) -> Self {
        let compiler: SocketAddr = compiler.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (left, cuts) = (Arc::new(AtomicI64::new(NEVER)), Arc::<AtomicUsize>::default());
        let (limit, counter) = (Arc::clone(&left), Arc::clone(&cuts));
        thread::spawn(move || {
            for agent in listener.incoming() {
                let (Ok(agent), Ok(compiler)) = (agent, TcpStream::connect(compiler)) else { continue };
                let (from_agent, to_compiler) = (agent.try_clone().unwrap(), compiler.try_clone().unwrap());
                thread::spawn(move || copy(from_agent, to_compiler));
                let (limit, counter) = (Arc::clone(&limit), Arc::clone(&counter));
                thread::spawn(move || copy_until_cut(compiler, agent, &limit, &counter));
            }
        });
        Self { url, left, cuts }
    }

    /// Cuts the connection after so many more bytes from the compiler.
    pub(super) fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// How many connections it has cut.
    pub(super) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, both ends of both are over.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn copy_until_cut(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64, cuts: &AtomicUsize) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let read = i64::try_from(length).unwrap();
        let before = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(if left == NEVER || left <= read { NEVER } else { left - read })
            })
            .unwrap();
        let passed = usize::try_from(before.min(read)).unwrap();
        let written = to.write_all(&buffer[..passed]);
        if passed < length {
            cuts.fetch_add(1, Ordering::SeqCst);
        }
        if written.is_err() || passed < length {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
