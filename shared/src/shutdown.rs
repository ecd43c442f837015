//! Shutdown: one future that ends when the process is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves with the signal's name once SIGTERM or SIGINT arrives.
///
/// # Errors
/// When the handlers cannot be installed; no signal is awaited then.
pub async fn requested() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
