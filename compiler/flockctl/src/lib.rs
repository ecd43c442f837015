//! flockctl: asks the compiler what each node should have, what it has, and why. One program under two names.
//!
//! ```text
//! cli ─▶ way ─┬─ --compiler URL: plain text on loopback, TLS elsewhere
//!             └─ kubeconfig: API server ─ port-forward ─▶ a pod of the compiler, TLS through it
//! run ─ gRPC on that way ─▶ print
//! ```

mod cli;
mod print;
mod run;
mod table;
mod view;
mod way;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::anyhow;

/// The name that the program was called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `flockctl`
    Flockctl,
    /// `kubectl flock`
    KubectlPlugin,
}

/// As the user types it.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flockctl => "flockctl",
            Self::KubectlPlugin => "kubectl flock",
        })
    }
}

/// The whole program: 0 when it did what it was asked for, 1 when that failed, 2 when it was called wrongly.
#[must_use]
pub fn main(program: Program) -> ExitCode {
    let options = match cli::parse(program, std::env::args_os()) {
        Ok(options) => options,
        // Help and the version come this way too.
        Err(error) => error.exit(),
    };
    // There is one provider of cryptography, so it can only be there already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(program, &anyhow!(error).context("cannot start")),
    };
    let ended = runtime.block_on(run::run(program, options));
    // A plugin of the kubeconfig or a look-up of a name may still be running: nobody waits for it.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // `flockctl … | head` closes our output: that is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(program, &error),
    }
}

fn fail(program: Program, error: &anyhow::Error) -> ExitCode {
    // Nothing is left to tell if standard error is gone too.
    drop(writeln!(io::stderr(), "{program}: {error:#}"));
    ExitCode::FAILURE
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
