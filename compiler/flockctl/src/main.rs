//! `flockctl`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    flockctl::main(flockctl::Program::Flockctl)
}
