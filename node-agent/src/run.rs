//! The agent as a whole: restore, then enforce and follow the compiler, until asked to stop.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use flock_nft::read::GRAMMAR;
use flock_proto::{Hello, Outcome};
use flock_shared::{NodeName, Revision};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::cni::line::{Line as CniLine, Way};
use crate::cni::{Reception, Relay};
use crate::conntrack::wanted::Wishes;
use crate::conntrack::{Line, Looker};
use crate::enforce::{Applied, End, Enforcer, Outlets, Until};
use crate::facts::{Mode, Observer};
use crate::nft::Nft;
use crate::session::{self, Ended, Ends, Sandboxes};
use crate::state::{self, Saved, StateDir};
use crate::trial;
use flock_shared::backoff::Backoff;
use flock_shared::dial::{self, CompilerUrl, DialError, Trust};
use flock_shared::telemetry::causes;
use flock_shared::token::{BearerToken, TokenError};
use tonic::transport::Channel;

const FIRST_RECONNECT: Duration = Duration::from_millis(200);
const LAST_RECONNECT: Duration = Duration::from_secs(30);
/// A stream that lived this long was a healthy one. One update is no sign: a compiler that fails after each would be
/// called five times a second by every node.
const HEALTHY: Duration = Duration::from_secs(10);
/// Acks on their way to the stream. Each is a few kilobytes at most.
const ACKS: usize = 64;
/// How long the last ack and the last write to disk may take once the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an agent needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node that is enforced.
    pub node: NodeName,
    /// Where updates come from: the compiler, or several replicas of it.
    pub compilers: Vec<CompilerUrl>,
    /// How the compiler is known over TLS.
    pub trust: Option<Trust>,
    /// Where the token is that the compiler is shown over TLS.
    pub token_file: Option<PathBuf>,
    /// How nft is run.
    pub nft: Nft,
    /// Where the ruleset is kept for the next boot.
    pub state_dir: Option<PathBuf>,
    /// How often the kernel's table is looked after.
    pub check_interval: Duration,
    /// What is done about bridges that the rules do not see.
    pub bridge_nf: Mode,
    /// Where the CNI plugin calls, if its calls are relayed.
    pub cni_socket: Option<PathBuf>,
    /// When the agent is done.
    pub until: Until,
}

/// Why an agent ended without having done its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The one update was not applied.
    #[error("the update was not applied ({outcome}): {error}")]
    NotApplied {
        /// What became of it.
        outcome: Outcome,
        /// What was wrong.
        error: String,
    },
    /// The agent was stopped before the one update came.
    #[error("stopped before an update came")]
    NoUpdate,
    /// A part of the agent ended that never should.
    #[error("the agent lost its connection loop")]
    Forsaken,
}

/// Runs the agent until `stop` becomes true, or until the one update is done. The rules stay in place.
///
/// # Errors
/// When what the agent was asked for was not reached.
pub async fn run(config: Config, stop: watch::Receiver<bool>) -> Result<(), RunError> {
    // Before anything that takes time: calls wait there.
    let reception = match &config.cni_socket {
        Some(path) if config.until == Until::Stopped => Some(Reception::open(path.clone())),
        _ => None,
    };
    let (update_inlet, updates) = mpsc::channel(1);
    let (acks, ack_outlet) = mpsc::channel(ACKS);
    let (applied, applied_outlet) = watch::channel(Applied::default());
    let (full_needed, full_needed_outlet) = watch::channel(0);
    let (journal, journal_outlet) = watch::channel(None);

    let (wishes, wanted) = Wishes::new();
    let (question_inlet, questions) = mpsc::channel(1);
    let (answers, answer_outlet) = mpsc::channel(1);
    let (is_answered, is_open) = watch::channel(false);

    let outlets = Outlets { acks, applied, full_needed, journal, wishes };
    let mut enforcer = Enforcer::new(config.nft.clone(), outlets, config.check_interval);
    if config.until == Until::Stopped {
        // Before anything is applied: what comes after it is noticed.
        enforcer.listen().await;
    }
    let (state_dir, on_disk) = restore(&config, &mut enforcer).await;

    let (mut observer, facts) =
        Observer::new(config.nft.program().clone(), config.bridge_nf, config.check_interval);
    if config.until == Until::Stopped {
        observer.listen().await;
    }
    observer.look().await;

    let (way, line) = watch::channel(None);
    let (stream, open_stream) = watch::channel(None);
    let relay = reception.map(|reception| {
        let line = CniLine::new(config.node.clone(), line);
        Relay::new(reception, state_dir.clone(), line, config.nft.program().clone(), config.check_interval)
    });
    let sandboxes = relay.as_ref().map(|relay| {
        let keeper = relay.keeper();
        Sandboxes { unasked: keeper.unasked(), keeper }
    });
    let relaying = async {
        match relay {
            Some(relay) => relay.run().await,
            None => std::future::pending().await,
        }
    };

    let enforcing = enforcer.run(config.until, updates, open_stream, stop);
    let ends = Ends {
        updates: update_inlet,
        acks: ack_outlet,
        full_needed: full_needed_outlet,
        facts,
        questions,
        answers,
        is_answered,
        sandboxes,
        way,
        stream,
        streams: 0,
    };
    let line = Line { is_open, questions: question_inlet, answers: answer_outlet };
    let looking = Looker::new(config.nft.program().clone(), wanted, line).run();
    let following = follow(&config, ends, applied_outlet);
    let keeping = state::keep(state_dir, on_disk, journal_outlet);

    tokio::pin!(enforcing);
    let others = async {
        tokio::select! {
            _ = async { tokio::join!(following, keeping, observer.run()) } => {}
            never = looking => match never {},
            never = relaying => match never {},
        }
    };
    tokio::pin!(others);
    let end = tokio::select! {
        end = &mut enforcing => {
            // Its outlets are closed now, by which the others know that they are to finish.
            if timeout(FAREWELL, others).await.is_err() {
                warn!("the last ack or the last write to disk was not finished");
            }
            end
        }
        _ = &mut others => End::Forsaken,
    };
    match end {
        End::Stopped if config.until == Until::FirstUpdate => Err(RunError::NoUpdate),
        End::Stopped => Ok(()),
        End::FirstUpdate(answer) if answer.outcome.is_success() => Ok(()),
        End::FirstUpdate(answer) => {
            Err(RunError::NotApplied { outcome: answer.outcome, error: answer.error })
        }
        End::Forsaken => Err(RunError::Forsaken),
    }
}

/// Puts the saved ruleset in place before the compiler is called; the folder, and what is in it.
async fn restore(config: &Config, enforcer: &mut Enforcer) -> (Option<StateDir>, Option<Saved>) {
    let Some(folder) = &config.state_dir else { return (None, None) };
    let dir = match StateDir::open(folder, &config.node) {
        Ok(dir) => dir,
        Err(error) => {
            warn!(folder = %folder.display(), %error, "the state folder cannot be used");
            return (None, None);
        }
    };
    let saved = dir.load().unwrap_or_else(|error| {
        warn!(folder = %folder.display(), %error, "the saved ruleset was refused");
        None
    });
    if let Some(saved) = &saved {
        enforcer.restore(saved.journal.clone()).await;
    }
    (Some(dir), saved)
}

/// One stream after the other, with growing pauses, until the agent stops. When one ends, the next replica has its
/// turn; each connection is made from the address anew, names are looked up again.
async fn follow(config: &Config, mut ends: Ends, applied: watch::Receiver<Applied>) {
    let mut backoff = Backoff::new(FIRST_RECONNECT, LAST_RECONNECT);
    let mut refused = None;
    let mut turns = turns(&config.node, &config.compilers);
    let Some(mut compiler) = turns.next() else { return };
    loop {
        let trying = refused_by(&config.nft, &mut refused);
        let connecting = async { tokio::join!(connect(config, compiler), nft_version(&config.nft), trying) };
        let Some((connected, nft_version, ())) = unless_stopped(connecting, &mut ends).await else {
            return;
        };
        match connected {
            Ok((channel, token)) => {
                let Applied { revision: applied, position, superseded, drifts } = applied.borrow().clone();
                let name = applied.as_ref().map_or("none", Revision::as_str);
                info!(%compiler, applied = name, "connected");
                let agent_version = env!("CARGO_PKG_VERSION").to_owned();
                let hello = Hello {
                    node: config.node.clone(),
                    agent_version,
                    nft_version,
                    applied,
                    position,
                    drifts,
                    superseded,
                    facts: ends.facts.borrow_and_update().clone(),
                    refused: refused.clone().unwrap_or_default(),
                    grammar: GRAMMAR,
                    cni: config.cni_socket.is_some(),
                };
                let since = Instant::now();
                let token_file = token.as_ref().and(config.token_file.clone());
                let way = Way { channel, token_file };
                let ended = session::run(way, token.as_ref(), hello, &mut ends).await;
                if since.elapsed() >= HEALTHY {
                    backoff.reset();
                }
                match ended {
                    Ended::Finished => return,
                    Ended::FullNeeded => {
                        info!("asking for a full script");
                        continue;
                    }
                    Ended::Closed => info!(%compiler, "the compiler closed the stream"),
                    Ended::Broken(status) => {
                        warn!(%compiler, code = ?status.code(), message = ?causes(&status), "the stream broke");
                    }
                }
            }
            Err(error) => warn!(%compiler, error = ?causes(&error), "could not connect"),
        }
        compiler = turns.next().unwrap_or(compiler);
        let pause = backoff.pause();
        if unless_stopped(sleep(pause), &mut ends).await.is_none() {
            return;
        }
    }
}

/// Why a compiler was not called.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the token in {} cannot be used", path.display())]
    Token { path: PathBuf, source: TokenError },
}

/// A connection, and what to show there. Certificates and token are read anew: both are exchanged while agents run.
/// Plain text gets no token.
async fn connect(
    config: &Config,
    compiler: &CompilerUrl,
) -> Result<(Channel, Option<BearerToken>), CallError> {
    let path = config.token_file.as_ref().filter(|_| !compiler.is_plaintext());
    let token = path
        .map(|path| BearerToken::read(path).map_err(|source| CallError::Token { path: path.clone(), source }))
        .transpose()?;
    Ok((dial::connect(compiler, config.trust.as_ref()).await?, token))
}

/// The replicas in turn, for ever; agents begin with different ones.
fn turns<'a>(node: &NodeName, compilers: &'a [CompilerUrl]) -> impl Iterator<Item = &'a CompilerUrl> {
    let sum: usize = node.as_str().bytes().map(usize::from).sum();
    compilers.iter().cycle().skip(sum % compilers.len().max(1))
}

/// What `work` gives, unless the agent stops first.
async fn unless_stopped<T>(work: impl Future<Output = T>, ends: &mut Ends) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = ends.discard_acks() => None,
    }
}

/// Learns what nft refuses, unless that is known: it does not change while an agent lives.
async fn refused_by(nft: &Nft, known: &mut Option<Vec<String>>) {
    if known.is_none() {
        match trial::refused(nft).await {
            Ok(refused) => *known = Some(refused),
            Err(error) => warn!(error = ?error.to_string(), "what nft refuses could not be learned"),
        }
    }
}

async fn nft_version(nft: &Nft) -> String {
    nft.version().await.unwrap_or_else(|error| {
        warn!(error = ?error.to_string(), "nft's version could not be learned");
        String::new()
    })
}
