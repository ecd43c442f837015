//! `kubectl flock`: flockctl under the name by which kubectl finds it as its plugin.

use std::process::ExitCode;

fn main() -> ExitCode {
    flockctl::main(flockctl::Program::KubectlPlugin)
}
