//! What to do about a call: purely, from the environment and the configuration to an answer, or to a question for the
//! agent and the answer that follows from what comes of it.

use std::path::PathBuf;
use std::time::Duration;

use flock_shared::cni::{Answer, Call, NetworkName, Reach, Sandbox, VERSIONS};
use serde::Deserialize;

use crate::ask::AskError;
use crate::attachment;
use crate::config::{Attachment, Config, OnTimeout, Settings};
use crate::environment::{Command, Environment};
use crate::failure::{Code, Failure};
use crate::links::Link;
use crate::pod::{self, Pod};

/// The longest that a pod's end is held up.
const LONGEST_END: Duration = Duration::from_secs(2);
/// The longest that a runtime is held up which asks every few seconds.
const LONGEST_STATUS: Duration = Duration::from_millis(500);

/// What the runtime is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done; this is the result, where the command has one.
    Success(Option<String>),
    /// It is not.
    Failure {
        /// The configuration's version of the specification, where it is known.
        version: Option<&'static str>,
        /// Why.
        failure: Failure,
    },
}

/// What to do about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The answer is known.
    Answer {
        /// What the runtime is told.
        reply: Reply,
        /// Why nobody was asked, where that is worth a line.
        note: Option<String>,
        /// Where calls are written down.
        log: Option<PathBuf>,
    },
    /// The agent is asked first.
    Ask(Question),
}

/// A question for the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where the agent listens.
    pub socket: PathBuf,
    /// How long the answer may take.
    pub within: Duration,
    /// What is asked.
    pub call: Call,
    /// The network that it is asked of.
    pub network: Option<NetworkName>,
    /// Where calls are written down.
    pub log: Option<PathBuf>,
    ending: Ending,
}

/// What follows from what comes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Add {
        result: String,
        version: &'static str,
        on_timeout: OnTimeout,
    },
    /// Whatever comes of it.
    Success,
    Status {
        version: &'static str,
    },
}

/// What came of a question.
pub type Outcome = Result<Answer, AskError>;

/// What to do about a call; `look` says what a link of the node is.
pub fn plan(environment: &Environment, input: &[u8], look: impl Fn(&str) -> Link) -> Plan {
    // Before the configuration is read: VERSION comes with none.
    let command = match environment.command() {
        Ok(Command::Version) => return answer(Reply::Success(Some(versions(input)))),
        Ok(command) => command,
        Err(failure) => return answer(Reply::Failure { version: None, failure }),
    };
    let config = match Config::read(input) {
        Ok(config) => config,
        Err(failure) => return answer(Reply::Failure { version: None, failure }),
    };
    let version = config.version;
    planned(command, environment, config, look)
        .unwrap_or_else(|failure| answer(Reply::Failure { version: Some(version), failure }))
}

fn planned(
    command: Command,
    environment: &Environment,
    config: Config<'_>,
    look: impl Fn(&str) -> Link,
) -> Result<Plan, Failure> {
    match command {
        Command::Add => add(environment, &config, look),
        Command::Check => {
            since(&config, "0.4.0", "CHECK")?;
            config.settings?;
            // What the agent knows is made good without the runtime, which would take the pod for broken.
            Ok(answer(Reply::Success(None)))
        }
        Command::Del => Ok(del(environment, config)),
        Command::Gc => {
            since(&config, "1.1.0", "GC")?;
            Ok(gc(config))
        }
        Command::Status => {
            since(&config, "1.1.0", "STATUS")?;
            status(config)
        }
        // It was answered before the configuration was read, and does not come here.
        Command::Version => Ok(answer(Reply::Success(None))),
    }
}

fn answer(reply: Reply) -> Plan {
    Plan::Answer { reply, note: None, log: None }
}

fn add(environment: &Environment, config: &Config<'_>, look: impl Fn(&str) -> Link) -> Result<Plan, Failure> {
    let settings = config.settings.clone()?;
    let previous = config.previous.ok_or_else(|| {
        let details = "prevResult: missing; the plugin has to come after those that give a pod its network";
        Failure::new(Code::Config, "invalid network configuration", details)
    })?;
    let result = previous.to_owned();
    let log = settings.log.clone();
    let unasked = |result, note: &str| Plan::Answer {
        reply: Reply::Success(Some(result)),
        note: Some(note.to_owned()),
        log: log.clone(),
    };
    // From here on nothing is the configuration's fault: a pod that cannot be made known starts all the same, unless the
    // administrator wants it not to.
    let pod = match pod::read(&environment.args) {
        Ok(None) => return Ok(unasked(result, "no pod of a cluster")),
        Ok(Some(pod)) => Ok(pod),
        Err(error) => Err(error),
    };
    match pod.and_then(|pod| sandbox(environment, pod, &result, look)) {
        // Rules go by addresses: there is nothing that the agent could be told.
        Ok(sandbox) if sandbox.addresses.is_empty() => Ok(unasked(result, "a pod without addresses")),
        Ok(sandbox) => Ok(Plan::Ask(Question {
            socket: settings.socket,
            within: settings.timeout,
            call: Call::Add(sandbox),
            network: config.network.clone(),
            log: settings.log,
            ending: Ending::Add { result, version: config.version, on_timeout: settings.on_timeout },
        })),
        Err(error) if settings.on_timeout == OnTimeout::Fail => {
            Err(Failure::new(Code::TryAgainLater, "the pod cannot be made known", error))
        }
        Err(error) => Ok(unasked(result, &error)),
    }
}

/// What the agent is told of a pod.
fn sandbox(
    environment: &Environment,
    pod: Pod,
    result: &str,
    look: impl Fn(&str) -> Link,
) -> Result<Sandbox, String> {
    let given = attachment::read(result, look)?;
    let id =
        pod::sandbox(&environment.container, &environment.interface).map_err(|error| error.to_string())?;
    let whole =
        Sandbox { id, pod: pod.key, uid: pod.uid, addresses: given.addresses, interface: given.interface };
    // An interface that has no proper name is one of which nothing can be said.
    let without = Sandbox { interface: None, ..whole.clone() };
    whole.checked().or_else(|_| without.checked()).map_err(|error| error.to_string())
}

/// Whatever is wrong, a pod's end must not fail: it would be tried for ever.
fn del(environment: &Environment, config: Config<'_>) -> Plan {
    // Where the settings are wrong, the agent may still be at its usual place.
    let Settings { socket, timeout, log, .. } = config.settings.unwrap_or_default();
    match pod::sandbox(&environment.container, &environment.interface) {
        Ok(id) => Plan::Ask(Question {
            socket,
            within: timeout.min(LONGEST_END),
            call: Call::Del(id),
            network: config.network,
            log,
            ending: Ending::Success,
        }),
        Err(error) => Plan::Answer { reply: Reply::Success(None), note: Some(error.to_string()), log },
    }
}

/// What stays. A runtime that does not say what stays, or says it of something that cannot be, has said nothing: all
/// pods of the node would be taken for gone.
fn gc(config: Config<'_>) -> Plan {
    let Settings { socket, timeout, log, .. } = config.settings.unwrap_or_default();
    let id = |it: &Attachment| pod::sandbox(&it.container, &it.ifname).map_err(|error| error.to_string());
    let stay = config.attachments.as_ref().ok_or_else(|| "no list of what stays".to_owned());
    match stay.and_then(|all| all.iter().map(id).collect()) {
        Ok(ids) => Plan::Ask(Question {
            socket,
            within: timeout.min(LONGEST_END),
            call: Call::Gc(ids),
            network: config.network,
            log,
            ending: Ending::Success,
        }),
        Err(note) => Plan::Answer { reply: Reply::Success(None), note: Some(note), log },
    }
}

/// Without the agent, pods start unless an administrator wants them not to.
fn status(config: Config<'_>) -> Result<Plan, Failure> {
    let version = config.version;
    let settings = config.settings?;
    Ok(match settings.on_timeout {
        OnTimeout::Continue => answer(Reply::Success(None)),
        OnTimeout::Fail => Plan::Ask(Question {
            socket: settings.socket,
            within: settings.timeout.min(LONGEST_STATUS),
            call: Call::Status,
            network: config.network,
            log: settings.log,
            ending: Ending::Status { version },
        }),
    })
}

/// Commands came one after the other.
fn since(config: &Config<'_>, version: &str, command: &str) -> Result<(), Failure> {
    let place = |version: &str| VERSIONS.iter().position(|known| *known == version);
    if place(config.version) >= place(version) {
        return Ok(());
    }
    let details = format!("the configuration is of {}, there is {command} since {version}", config.version);
    Err(Failure::new(Code::IncompatibleVersion, "incompatible CNI versions", details))
}

/// The result of `VERSION`, which says the version that it was asked in.
fn versions(input: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Asked {
        #[serde(rename = "cniVersion")]
        version: String,
    }
    // Nobody needs to ask in a version to be told.
    let asked = serde_json::from_slice(input).map(|asked: Asked| asked.version).ok();
    let newest = VERSIONS.last().copied().unwrap_or_default();
    let asked = asked.unwrap_or_else(|| newest.to_owned());
    serde_json::json!({ "cniVersion": asked, "supportedVersions": VERSIONS }).to_string()
}

impl Question {
    /// What the runtime is told, once it is known what came of the question.
    #[must_use]
    pub fn reply(&self, outcome: &Outcome) -> Reply {
        match &self.ending {
            Ending::Success => Reply::Success(None),
            Ending::Add { result, version, on_timeout } => match (on_timeout, shortcoming(outcome)) {
                (OnTimeout::Fail, Some(details)) => Reply::Failure {
                    version: Some(version),
                    failure: Failure::new(Code::TryAgainLater, "the pod is not known yet", details),
                },
                _ => Reply::Success(Some(result.clone())),
            },
            Ending::Status { version } => match outcome {
                Err(error) if error.is_certain() => Reply::Failure {
                    version: Some(version),
                    failure: Failure::new(Code::NotAvailable, "no agent", error.to_string()),
                },
                // An agent that is slow or busy is there: the node need not be taken for unready.
                _ => Reply::Success(None),
            },
        }
    }
}

/// What is missing of what was asked for, for people; nothing where all is well.
#[must_use]
pub fn shortcoming(outcome: &Outcome) -> Option<String> {
    match outcome {
        Ok(Answer::Done { reach: Reach::Everywhere | Reach::Node, .. }) => None,
        Ok(Answer::Done { reach: Reach::Unclean, behind }) => {
            Some(format!("an address is still that of its former owner on {}", behind.join(", ")))
        }
        Ok(Answer::Refused(why)) => Some(format!("refused: {why}")),
        Ok(Answer::Failed(why)) => Some(why.clone()),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
