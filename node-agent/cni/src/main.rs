//! The process around the plugin: environment and standard input in, standard output and exit status out.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use flock_cni::ask::ask;
use flock_cni::environment::Environment;
use flock_cni::failure::{Code, Failure};
use flock_cni::plan::{plan, shortcoming};
use flock_cni::{Outcome, Plan, Question, Reply, journal, links};
use flock_shared::cni::{Answer, Call, Reach};
use flock_version::Version;

/// Where the kernel shows the links of the node.
const LINKS: &str = "/sys/class/net";
/// The longest configuration, in bytes; a list of what stays is its longest part.
const LONGEST_INPUT: u64 = 16 << 20;

fn main() -> ExitCode {
    let start = Instant::now();
    let environment = Environment::of_process();
    // A runtime passes no arguments; whoever types this has no CNI_COMMAND, and none is asked for.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "--version") {
        return say(&Reply::Success(Some(format!("flock-cni {}", Version::of_this_build(&[])))));
    }
    let reply = match input(&environment) {
        Ok(input) => answer(&environment, &input, start),
        Err(error) => {
            let failure = Failure::new(Code::Io, "standard input cannot be read", error.to_string());
            Reply::Failure { version: None, failure }
        }
    };
    say(&reply)
}

/// All of standard input, where somebody may write to it.
fn input(environment: &Environment) -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    // Who calls it by hand is told what is missing, and not waited for.
    if !environment.command.is_empty() {
        io::stdin().lock().take(LONGEST_INPUT).read_to_end(&mut input)?;
    }
    Ok(input)
}

fn answer(environment: &Environment, input: &[u8], start: Instant) -> Reply {
    match plan(environment, input, |name| links::look(Path::new(LINKS), name)) {
        Plan::Answer { reply, note, log } => {
            if let (Some(note), Some(log)) = (note, log) {
                write_down(&log, environment, start, &note);
            }
            reply
        }
        Plan::Ask(question) => {
            let outcome =
                ask(&question.socket, question.call.clone(), question.network.clone(), question.within);
            tell(&question, environment, &outcome, start);
            question.reply(&outcome)
        }
    }
}

/// Writes down what came of a question. What did not come is worth a line in the runtime's own log.
fn tell(question: &Question, environment: &Environment, outcome: &Outcome, start: Instant) {
    let shortcoming = shortcoming(outcome);
    if let Some(shortcoming) = shortcoming.as_ref().filter(|_| question.call != Call::Status) {
        let shown: String = shortcoming.chars().take(512).collect();
        let command = &environment.command;
        let _ = writeln!(io::stderr().lock(), "flock-cni: {command} {}: {shown:?}", environment.container);
    }
    let Some(log) = &question.log else { return };
    let about = match &question.call {
        Call::Add(sandbox) => {
            let interface = sandbox.interface.as_deref().unwrap_or("-");
            format!("{} {:?} {interface} ", sandbox.pod, sandbox.addresses)
        }
        Call::Gc(ids) => format!("{} stay ", ids.len()),
        Call::Del(_) | Call::Status => String::new(),
    };
    let came = match outcome {
        Ok(Answer::Done { reach: Reach::Everywhere, .. }) => "done".to_owned(),
        Ok(Answer::Done { behind, .. }) if shortcoming.is_none() => {
            format!("done, not yet on {}", behind.join(", "))
        }
        _ => shortcoming.unwrap_or_default(),
    };
    write_down(log, environment, start, &format!("{about}{came}"));
}

#[expect(clippy::disallowed_methods, reason = "people read when it was; nothing goes by it")]
fn write_down(log: &Path, environment: &Environment, start: Instant, what: &str) {
    let Environment { command, container, interface, .. } = environment;
    let (time, took) = (journal::time(SystemTime::now()), start.elapsed().as_millis());
    journal::add(log, &format!("{time} {command} {container} {interface} {took} ms: {what}"));
}

fn say(reply: &Reply) -> ExitCode {
    let (text, status) = match reply {
        Reply::Success(result) => (result.clone(), ExitCode::SUCCESS),
        Reply::Failure { version, failure } => (Some(failure.to_json(*version)), ExitCode::FAILURE),
    };
    let Some(mut text) = text else { return status };
    text.push('\n');
    let mut out = io::stdout().lock();
    // A runtime that has gone learns nothing, as much as if it had stayed and been told that it failed.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => status,
        Err(_) => ExitCode::FAILURE,
    }
}
