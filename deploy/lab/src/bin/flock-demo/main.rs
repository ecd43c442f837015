//! `flock-demo`: two nodes, six pods, policies, and what real packets make of them. `deploy/demo` builds and runs it.
//!
//! Exit status: 0 when every flow was as the policies say, 1 when one was not or something failed, 130 on Ctrl-C.

mod control;
mod interrupt;
mod manifests;
mod matrix;
mod network;
mod newcomer;
mod process;
mod scenario;
mod screen;
mod story;

use std::process::ExitCode;

use clap::Parser;
use flock_shared::causes;
use interrupt::{Interrupt, Interrupted};
use screen::{Screen, Style};

/// Shows flock-netpol at work on this machine, in about half a minute: two nodes and six pods made of network namespaces, a
/// compiler, an agent for each node, and real packets between all pods before and after there are policies, while one is
/// edited, and from the first moment of a new pod.
///
/// Needs root (deploy/demo asks sudo), nft and ip. Nothing outside of its own namespaces and a temporary folder is touched,
/// and both are removed at the end, also after Ctrl-C. Exit status: 0 if every flow was as the policies say, 1 if one was not
/// or something failed, 130 after Ctrl-C. NO_COLOR is honoured.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {}

fn main() -> ExitCode {
    // Help, or a complaint, before anything is made.
    let Options {} = Options::parse();
    let screen = Screen::new();
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => return failed(&screen, &error.into()),
    };
    match story::tell(&screen, &interrupt) {
        Ok(story::Ending::AsThePoliciesSay) => ExitCode::SUCCESS,
        Ok(story::Ending::Differences) => ExitCode::FAILURE,
        // A program that Ctrl-C hit too may be what failed.
        Err(error) if interrupt.seen() || error.is::<Interrupted>() => {
            let _ = screen.line(Style::Plain, "\n  Interrupted; everything is removed again.");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => failed(&screen, &error),
    }
}

#[allow(clippy::print_stderr, reason = "errors of a command go to standard error")]
fn failed(screen: &Screen, error: &anyhow::Error) -> ExitCode {
    eprintln!("\n{} {}", screen.paint(Style::Red, "flock-demo:"), causes(&**error));
    ExitCode::FAILURE
}
