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

use interrupt::{Interrupt, Interrupted};
use screen::{Screen, Style};

fn main() -> ExitCode {
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
    eprintln!("\n{} {error:#}", screen.paint(Style::Red, "flock-demo:"));
    ExitCode::FAILURE
}
