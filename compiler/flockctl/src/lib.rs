#![doc = include_str!("../README.md")]

mod ask;
mod check;
mod cli;
mod completion;
mod failure;
mod forward;
mod merge;
mod nodes;
mod print;
mod replica;
mod report;
mod run;
mod table;
mod target;
mod view;
mod watch;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::anyhow;

use self::failure::Failure;
use self::run::Outcome;

/// The name that the program was called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `flockctl`
    Flockctl,
    /// `kubectl flock`
    KubectlPlugin,
}

impl Program {
    /// The name of its file.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Flockctl => "flockctl",
            Self::KubectlPlugin => "kubectl-flock",
        }
    }
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

/// The command line, for whoever writes manuals of it.
#[must_use]
pub fn command(program: Program) -> clap::Command {
    cli::command(program)
}

/// The whole program: 0 when it did what it was asked for, 1 when the answer is no (`nodes` are not all current, `check`
/// finds something that is not well, a flow is denied, …) or a watch has ended, 2 for what cannot be asked, 3 when no
/// compiler can be reached, 4 when objects and a node's table contradict each other.
#[must_use]
pub fn main(program: Program) -> ExitCode {
    let options = match cli::parse(program, std::env::args_os()) {
        Ok(cli::Call::Ask(options)) => *options,
        Ok(cli::Call::Print(text)) => {
            return match io::stdout().lock().write_all(&text) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    fail(program, &anyhow!(error).context("cannot print").into())
                }
                _ => ExitCode::SUCCESS,
            };
        }
        // Help and the version come this way too.
        Err(error) => error.exit(),
    };
    // There is one provider of cryptography, so it can only be there already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(program, &anyhow!(error).context("cannot start").into()),
    };
    let ended = runtime.block_on(run::run(program, options));
    // A plugin of the kubeconfig or a look-up of a name may still be running: nobody waits for it.
    runtime.shutdown_background();
    match ended {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::FAILURE,
        Ok(Outcome::Contradiction) => ExitCode::from(CONTRADICTION),
        // `flockctl … | head` closes our output: that is no failure.
        Err(failure) if is_closed_pipe(&failure.error) => ExitCode::SUCCESS,
        Err(failure) => fail(program, &failure),
    }
}

/// What objects say and what a table does differ: a bug of the compiler.
const CONTRADICTION: u8 = 4;

fn fail(program: Program, failure: &Failure) -> ExitCode {
    // Nothing is left to tell if standard error is gone too.
    drop(writeln!(io::stderr(), "{program}: {}", failure.words()));
    failure.exit_code()
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
