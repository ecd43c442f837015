//! Shutdown: one future that ends when the process is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

/// A future that resolves with the signal's name once SIGTERM or SIGINT has arrived since this call, whether or not it
/// was polled by then. From this call on a signal no longer ends the process by itself: what may take long is to be
/// awaited beside this.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn requested() -> std::io::Result<impl Future<Output = &'static str>> {
    // Outside the future: what works before it is first polled may be interrupted, and as process 1 of a container a
    // signal without a handler is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::requested;

    #[tokio::test]
    async fn a_signal_that_arrives_before_it_is_awaited_is_not_lost() {
        let requested = requested().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        assert_eq!(requested.await, "SIGTERM");
    }
}
