//! Work that gives way to all other.

use tokio::sync::oneshot;

/// Works on a thread of the lowest priority, by this name; `None`: it has panicked.
pub(crate) async fn idly<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, waiting) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux of this thread alone (sched(7)). Refused, it works as others do.
        let _ = rustix::process::nice(19);
        // Nobody waits any more.
        let _ = done.send(work());
    });
    match thread {
        Ok(_) => waiting.await.ok(),
        Err(_) => None,
    }
}
