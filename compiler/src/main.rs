//! flock-compiler: translates Kubernetes network policies into one nftables script per node.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use flock_compiler::cli::{Cli, Command, LogFormat};
use flock_compiler::render::{Rendering, render};
use flock_compiler::serve::serve;
use flock_compiler::verify::{Verification, verify};
use flock_shared::{causes, telemetry};

/// Exit status for bad input and wrong flags, as clap has it.
const BAD_INPUT: u8 = 2;

/// What is not logged unless it is asked for: kube logs each failed request as an error, and so do those who made it.
const QUIET: &str = "kube_client=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = match cli.log_format {
        LogFormat::Text => telemetry::LogFormat::Text,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    let _logs = match telemetry::init(&format!("{QUIET},{}", cli.log), format) {
        Ok(logs) => logs,
        Err(error) => {
            complain(&format!("--log {:?}: {error}", cli.log));
            return ExitCode::from(BAD_INPUT);
        }
    };
    // kube and tonic would otherwise look for a provider themselves, and there is exactly one.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        complain("a TLS provider was installed before ring");
        return ExitCode::FAILURE;
    }
    match cli.command {
        Command::Render(options) => {
            match render(&options, &mut io::stdout().lock(), &mut io::stderr().lock()) {
                Ok(Rendering::Done) => ExitCode::SUCCESS,
                Ok(Rendering::BadInput) => ExitCode::from(BAD_INPUT),
                // `flock-compiler render … | head` closes our output: that is no failure.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
                Err(error) => {
                    complain(&format!("cannot print: {error}"));
                    ExitCode::FAILURE
                }
            }
        }
        Command::Verify(options) => {
            match verify(&options, &mut io::stdout().lock(), &mut io::stderr().lock()) {
                Ok(Verification::Proven) => ExitCode::SUCCESS,
                Ok(Verification::NotProven) => ExitCode::FAILURE,
                Ok(Verification::BadInput) => ExitCode::from(BAD_INPUT),
                Err(error) => {
                    complain(&format!("cannot print: {error}"));
                    ExitCode::from(BAD_INPUT)
                }
            }
        }
        Command::Serve(options) => {
            if let Err(error) = options.check() {
                error.exit();
            }
            let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    complain(&format!("cannot start: {error}"));
                    return ExitCode::FAILURE;
                }
            };
            match runtime.block_on(serve(*options)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    complain(&causes(&*error));
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn complain(message: &str) {
    // Nothing is left to tell if standard error is gone.
    drop(writeln!(io::stderr(), "flock-compiler: {message}"));
}
