//! Runs `ip` and `nft`: input on standard input, standard error in the error.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::error::{LabError, Result};

/// Runs `command` with `input` on its standard input and returns its standard output.
/// `namespace` only names the place in errors.
pub(crate) fn run(mut command: Command, namespace: &str, input: &str) -> Result<String> {
    let program = describe(&command);
    let output =
        feed(&mut command, input).map_err(|source| LabError::Start { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let stderr = if stderr.is_empty() { output.status.to_string() } else { stderr };
    Err(LabError::Command { program, namespace: namespace.to_owned(), stderr, input: input.to_owned() })
}

/// Runs many `ip` commands, one per line, in one process.
pub(crate) fn ip_batch(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(["-batch", "-"]);
    let mut input = lines.join("\n");
    input.push('\n');
    run(command, namespace.unwrap_or("-"), &input).map(drop)
}

fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs a command with this input; what it said.
pub(crate) fn feed(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // The program may refuse early and close its input; its own message then says more than a broken pipe.
    if let Some(mut stdin) = child.stdin.take()
        && let Err(error) = stdin.write_all(input.as_bytes())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        child.wait()?;
        return Err(error);
    }
    child.wait_with_output()
}
