//! `check`: is all well with what is installed; `check --pre`: is a cluster fit for an install.
//!
//! ```text
//! API server ─ gather ─▶ ClusterFacts ▶ before (pure) ────┐
//! compilers ─ nodes ───▶ Installation ▶ after, conflicts ─┴▶ Report ─▶ table, short, json
//! ```

mod after;
mod before;
mod conflicts;
mod enforcers;
mod finding;
mod gather;

use std::time::{Duration, SystemTime};

use flock_proto::v1::ListNodesRequest;
use flock_shared::access::NAMESPACE;
use flock_shared::causes;
use prost_types::Timestamp;
use tokio::time::Instant;

use crate::cli::CheckFormat;
use crate::failure::Failure;
use crate::nodes::{self, say};
use crate::run::{Asker, Outcome};
use crate::target::{Target, TargetError};
use crate::{print, table};

use self::after::Installation;
use self::conflicts::Workloads;
use self::finding::Report;

/// Between two looks of `--wait`.
const PERIOD: Duration = Duration::from_secs(2);

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// What an install needs, in place of what is installed.
    pub(crate) pre: bool,
    /// How long it is asked again and again until all is well.
    pub(crate) wait: Duration,
    pub(crate) format: CheckFormat,
}

/// Checks until all is well or the time is over, and prints what was found last.
///
/// # Errors
/// When it cannot be asked, or nobody answers until the time is over.
pub(crate) async fn check(
    target: &Target,
    question: Question,
    asker: &Asker<'_>,
) -> Result<Outcome, Failure> {
    let deadline = Instant::now() + question.wait;
    let mut told = String::new();
    loop {
        let found = match question.pre {
            true => before(target).await,
            false => after(target, asker).await,
        };
        // Without `--wait` the first look is the last.
        let is_over = Instant::now() + PERIOD > deadline;
        let state = match found {
            Ok(report) if report.well || is_over => {
                print::write(&shown(&report, question.format)?)?;
                return Ok(if report.well { Outcome::Yes } else { Outcome::No });
            }
            Ok(report) => report.summary(),
            Err(failure) if is_over || failure.kind.is_question() => return Err(failure),
            Err(failure) => failure.words(),
        };
        // Once for each state: it looks every two seconds.
        if state != told {
            say(asker.program, &[format!("waiting: {state}")]);
            told = state;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// What is found of what is installed.
///
/// # Errors
/// When nobody answers.
pub(crate) async fn report(target: &Target, asker: &Asker<'_>) -> Result<impl serde::Serialize, Failure> {
    after(target, asker).await
}

fn shown(report: &Report, format: CheckFormat) -> Result<String, Failure> {
    Ok(match format {
        CheckFormat::Table => report.table(table::colour()),
        CheckFormat::Short => report.short(),
        CheckFormat::Json => serde_json::to_string_pretty(report).map_err(anyhow::Error::from)? + "\n",
    })
}

async fn before(target: &Target) -> Result<Report, Failure> {
    let Target::Cluster(cluster) = target else {
        let message = "check --pre asks an API server: it needs a kubeconfig (--kubeconfig FILE), and no --compiler URL";
        return Err(Failure::question(message.to_owned()));
    };
    let answers = gather::cluster(cluster.client(), cluster.namespace().as_str()).await;
    let answers = answers.map_err(|error| TargetError::Request {
        what: "ask the API server for its version".to_owned(),
        reason: causes(&error),
    })?;
    Ok(Report::new(before::judge(&answers)))
}

async fn after(target: &Target, asker: &Asker<'_>) -> Result<Report, Failure> {
    let mut replicas = target.open().await?;
    // Compilers look at every pod for it, so that other commands do without.
    let request = ListNodesRequest { addresses: true };
    let view = nodes::look_for(&mut replicas, request).await?;
    let problems = asker.count(&mut replicas).await?;
    let missed: Vec<String> = replicas.missed.iter().map(ToString::to_string).collect();
    let agents_wanted = match target {
        Target::Cluster(cluster) => {
            gather::agents_wanted(cluster.client(), cluster.namespace().as_str()).await
        }
        Target::Urls(_) | Target::Default(..) => None,
    };
    let namespace = match target {
        Target::Cluster(cluster) => cluster.namespace().as_str(),
        Target::Urls(_) | Target::Default(..) => NAMESPACE,
    };
    let installation = Installation {
        rows: &view.rows,
        asked: view.asked,
        missed: &missed,
        lagging: &view.lagging,
        certificate_left: view.certificate_expiry.map(left),
        agents_wanted,
        namespace,
        problems,
        program: asker.program.to_string(),
    };
    let mut findings = after::judge(&installation);
    findings.extend(match target {
        Target::Cluster(cluster) => {
            let workloads = gather::workloads(cluster.client()).await;
            conflicts::judge(&view.rows, &Workloads::Of(&workloads))
        }
        Target::Urls(_) | Target::Default(..) => conflicts::judge(&view.rows, &Workloads::NotAsked),
    });
    Ok(Report::new(findings))
}

/// How long it is until then; none if that is over.
fn left(at: Timestamp) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(u64::try_from(at.seconds).unwrap_or_default()).saturating_sub(now)
}
