//! The agent as a whole: restore, then enforce and follow the compiler, until asked to stop.

use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flock_nft::read::GRAMMAR;
use flock_proto::{DropsWanted, Hello, Outcome};
use flock_shared::{NodeName, Revision};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::authorities::{self, Bundle, CaRefresh};
use crate::cni::client::{CompilerClient, Connection};
use crate::cni::{Reception, Relay};
use crate::conntrack::request::SweepRequests;
use crate::conntrack::{CompilerLink, ConntrackSweeper};
use crate::drops::DropsReader;
use crate::facts::{Mode, Observer};
use crate::health::{Contact, Enforcement, Health, HealthListen, HealthPort};
use crate::nft::Nft;
use crate::runner::{Applied, End, Outlets, Runner, Until};
use crate::session::{self, Ended, Ends, SandboxFeed};
use crate::state::{self, Claim, SavedJournal, Share, StateDir};
use crate::trial::{self, Trial};
use flock_shared::backoff::Backoff;
use flock_shared::causes;
use flock_shared::dial::{self, CompilerUrl, DialError, Trust};
use flock_shared::token::{BearerToken, TokenError};
use tonic::Code;
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
/// How long whoever restores before the agent is waited for, and how often it is looked whether that is done.
const RESTORING: Duration = Duration::from_secs(5);
const BETWEEN_CLAIMS: Duration = Duration::from_millis(20);

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
    /// Where probes are answered, while the agent runs until it is stopped.
    pub health_listen: HealthListen,
    /// What is done while the compiler's authorities are missing.
    pub ca_refresh: CaRefresh,
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
    /// The compiler is there, and its authorities are not.
    #[error(
        "the compiler shows a certificate, and its authorities are still not in {}: whoever starts this container again \
         refreshes the volume that they come in (--ca-refresh exit); the rules in place stay",
        path.display()
    )]
    NoAuthorities {
        /// Where they are expected.
        path: PathBuf,
    },
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
    let (enforcement, enforcement_outlet) = watch::channel(Enforcement::default());

    let (mut observer, facts) =
        Observer::new(config.nft.program().clone(), config.bridge_nf, config.check_interval);
    let (contact, contact_outlet) = watch::channel(Contact::default());
    let (refused, refused_outlet) = watch::channel(Vec::new());
    let health = Health {
        started: Instant::now(),
        enforcement: enforcement_outlet,
        contact: contact_outlet,
        facts: facts.clone(),
        refused: refused_outlet,
    };
    // Before anything that takes time: while the saved ruleset is put in place, the process is alive.
    let health_port = (config.health_listen.address().filter(|_| config.until == Until::Stopped))
        .map(|address| HealthPort::open(address, health.clone()));
    // Nobody looks at the node any more once nobody wants to see it.
    drop(health);
    let reports = Reports { contact, refused };

    let (sweeps, requested) = SweepRequests::new();
    let (question_inlet, questions) = mpsc::channel(1);
    let (answers, answer_outlet) = mpsc::channel(1);
    let (is_answered, is_open) = watch::channel(false);

    let (drops_wanted, drops_wanted_outlet) = watch::channel(DropsWanted::default());
    // One message waits; what comes meanwhile is added up.
    let (told, drops) = mpsc::channel(1);
    let (reader, bell) = DropsReader::new(config.nft.program().clone(), drops_wanted_outlet, told);

    let outlets = Outlets { acks, applied, enforcement, full_needed, journal, sweeps, drops: bell };
    let mut runner = Runner::new(config.nft.clone(), outlets, config.check_interval);
    if config.until == Until::Stopped {
        // Before anything is applied: what comes after it is noticed.
        runner.listen().await;
    }
    // Before the compiler is called: the node judges by what was saved however long that takes to answer, and the first
    // hello says what stands.
    let (state_dir, on_disk, _claim) = restore(&config, &mut runner).await;

    if config.until == Until::Stopped {
        observer.listen().await;
    }
    // Before the first stream, for its hello to say what the node is like: a script depends on it.
    observer.look().await;

    let (connection, open_connection) = watch::channel(None);
    let (stream, open_stream) = watch::channel(None);
    let relay = reception.map(|reception| {
        let client = CompilerClient::new(config.node.clone(), open_connection);
        Relay::new(reception, state_dir.clone(), client, config.nft.program().clone(), config.check_interval)
    });
    let sandboxes = relay.as_ref().map(|relay| {
        let store = relay.store();
        SandboxFeed { unasked: store.unasked(), store }
    });
    let relaying = async {
        match relay {
            Some(relay) => relay.run().await,
            None => std::future::pending().await,
        }
    };

    let enforcing = runner.run(config.until, updates, open_stream, stop);
    let ends = Ends {
        updates: update_inlet,
        acks: ack_outlet,
        full_needed: full_needed_outlet,
        facts,
        questions,
        answers,
        is_answered,
        drops,
        drops_wanted,
        sandboxes,
        connection,
        stream,
        streams: 0,
    };
    let link = CompilerLink { is_open, questions: question_inlet, answers: answer_outlet };
    let looking = ConntrackSweeper::new(config.nft.program().clone(), requested, link).run();
    let is_staying = config.until == Until::Stopped;
    let counting = async {
        // Who goes after one update has nothing to tell.
        if is_staying { reader.run().await } else { std::future::pending().await }
    };
    let following = follow(&config, ends, applied_outlet, reports);
    let keeping = state::keep(state_dir, on_disk, journal_outlet);

    tokio::pin!(enforcing);
    let others = async {
        let keeping = async {
            keeping.await;
            Ok(())
        };
        let observing = async {
            observer.run().await;
            Ok(())
        };
        tokio::select! {
            ended = async { tokio::try_join!(following, keeping, observing) } => ended.map(drop),
            never = looking => match never {},
            never = counting => match never {},
            never = relaying => match never {},
        }
    };
    tokio::pin!(others);
    let end = tokio::select! {
        end = &mut enforcing => {
            drop(health_port);
            // Its outlets are closed now, by which the others know that they are to finish.
            if timeout(FAREWELL, others).await.is_err() {
                warn!("the last ack or the last write to disk was not finished");
            }
            end
        }
        others = &mut others => {
            others?;
            End::Forsaken
        }
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

/// Puts the saved ruleset in place before the compiler is called; the folder, what is in it, and the claim on it.
async fn restore(
    config: &Config,
    runner: &mut Runner,
) -> (Option<StateDir>, Option<SavedJournal>, Option<Claim>) {
    let Some(folder) = &config.state_dir else { return (None, None, None) };
    let dir = match StateDir::open(folder, &config.node) {
        Ok(dir) => dir,
        Err(error) => {
            warn!(folder = %folder.display(), %error, "the state folder cannot be used");
            return (None, None, None);
        }
    };
    // Before it is read and applied: whoever restores at boot may still be at it, and two that replace the table at once
    // disturb each other.
    let claim = claim(folder).await;
    let saved = dir.load().unwrap_or_else(|error| {
        warn!(folder = %folder.display(), %error, "the saved ruleset was refused");
        None
    });
    if let Some(saved) = &saved {
        runner.restore(saved.journal.clone()).await;
    }
    (Some(dir), saved, claim)
}

/// Says that an agent works with the folder, as soon as nobody restores from it any more.
async fn claim(folder: &Path) -> Option<Claim> {
    let deadline = Instant::now() + RESTORING;
    loop {
        match state::claim(folder, Share::WithAgents) {
            Ok(None) if Instant::now() < deadline => sleep(BETWEEN_CLAIMS).await,
            Ok(claim) => return claim,
            Err(error) => {
                warn!(folder = %folder.display(), %error, "the state folder cannot be claimed");
                return None;
            }
        }
    }
}

/// Tells probes how following goes.
struct Reports {
    contact: watch::Sender<Contact>,
    refused: watch::Sender<Vec<String>>,
}

impl Reports {
    fn contact(&self, next: Contact) {
        self.contact.send_modify(|contact| *contact = std::mem::take(contact).then(next));
    }
}

/// One stream after the other, with growing pauses, until the agent stops. When one ends, the next replica has its
/// turn; each connection is made from the address anew, names are looked up again.
async fn follow(
    config: &Config,
    mut ends: Ends,
    applied: watch::Receiver<Applied>,
    reports: Reports,
) -> Result<(), RunError> {
    let mut backoff = Backoff::new(FIRST_RECONNECT, LAST_RECONNECT);
    let mut trial = None;
    let mut turns = turns(&config.node, &config.compilers);
    let Some(mut compiler) = turns.next() else { return Ok(()) };
    let stream = ends.stream.subscribe();
    // A replica that is away says nothing as long as another one was not called.
    let mut uncalled = config.compilers.len();
    loop {
        let mut was_healthy = false;
        if let Some(trust) = config.trust.as_ref().filter(|_| !compiler.is_plaintext()) {
            let waiting = async {
                let missing = |error| reports.contact(Contact::Away(error));
                authorities::bundle(trust, &config.compilers, config.ca_refresh, missing).await
            };
            match unless_stopped(waiting, &mut ends).await {
                Some(Bundle::There) => {}
                Some(Bundle::Stale) => {
                    return Err(RunError::NoAuthorities { path: trust.ca_file.clone() });
                }
                None => return Ok(()),
            }
        }
        let trying = tried(&config.nft, &mut trial);
        let connecting = async { tokio::join!(connect(config, compiler), nft_version(&config.nft), trying) };
        let Some((connected, nft_version, ())) = unless_stopped(connecting, &mut ends).await else {
            return Ok(());
        };
        let refused = trial.as_ref().map(|trial| trial.refused.clone()).unwrap_or_default();
        reports.refused.send_replace(refused.clone());
        uncalled = uncalled.saturating_sub(1);
        let away = |why: String| {
            if uncalled == 0 {
                reports.contact(Contact::Away(why));
            }
        };
        match connected {
            Ok((channel, token)) => {
                // After connecting, which may take long: the hello is to say what stands now.
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
                    refused,
                    grammar: GRAMMAR,
                    cni: config.cni_socket.is_some(),
                    drops: trial.as_ref().is_some_and(|trial| trial.takes_drops),
                };
                let since = Instant::now();
                let token_file = token.as_ref().and(config.token_file.clone());
                let connection = Connection { channel, token_file };
                let session = session::run(connection, token.as_ref(), hello, &mut ends);
                let ended = reported(session, &reports, stream.clone()).await;
                was_healthy = since.elapsed() >= HEALTHY;
                match ended {
                    Ended::Finished => return Ok(()),
                    Ended::FullNeeded => {
                        if was_healthy {
                            backoff.reset();
                        }
                        // At once and from the same replica, with which nothing is wrong.
                        info!("asking for a full script");
                        continue;
                    }
                    Ended::Closed => {
                        away("it closed the stream".to_owned());
                        info!(%compiler, "the compiler closed the stream");
                    }
                    Ended::Broken(status) => {
                        let why = format!("{:?}: {}", status.code(), causes(&status));
                        if is_refusal(status.code()) {
                            reports.contact(Contact::Refused(why));
                        } else {
                            away(why);
                        }
                        warn!(%compiler, code = ?status.code(), message = ?causes(&status), "the stream broke");
                    }
                }
            }
            Err(error) => {
                away(causes(&error));
                warn!(%compiler, error = ?causes(&error), "could not connect");
            }
        }
        compiler = turns.next().unwrap_or(compiler);
        // A compiler that was well and is gone may be one of several: pods that start wait for another one.
        let pause = if was_healthy { backoff.soon() } else { backoff.pause() };
        if unless_stopped(sleep(pause), &mut ends).await.is_none() {
            return Ok(());
        }
    }
}

/// What `session` comes to; that its stream is open is told meanwhile.
async fn reported(
    session: impl Future<Output = Ended>,
    reports: &Reports,
    mut stream: watch::Receiver<Option<u64>>,
) -> Ended {
    let opening = async {
        if stream.wait_for(Option::is_some).await.is_ok() {
            reports.contact(Contact::Open);
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        ended = session => ended,
        never = opening => match never {},
    }
}

/// Returns true if the compiler says with this that it will not serve the agent, rather than that it cannot for now.
const fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument | Code::Unimplemented
    )
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
    // By the name rather than at random: an agent that starts again begins with the same replica.
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
async fn tried(nft: &Nft, known: &mut Option<Trial>) {
    if known.is_none() {
        match trial::run(nft).await {
            Ok(trial) => *known = Some(trial),
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
