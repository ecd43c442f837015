//! `bundle`: answers to all questions as a tar.gz for a bug report. It holds answers only, none of which has a secret in it;
//! addresses are replaced by made-up names unless they are asked for.

mod archive;
mod pseudonyms;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use flock_proto::v1;
use flock_version::Version;
use prost_types::Timestamp;
use serde::Serialize;

use super::compilers::Compilers;
use crate::failure::Failure;
use crate::run::Asker;
use crate::{check, nodes, view};

use self::archive::Archive;
use self::pseudonyms::Pseudonyms;

/// How far back drops and passes go.
const SINCE: prost_types::Duration = prost_types::Duration { seconds: 3600, nanos: 0 };

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    /// The file, in the current directory.
    pub(super) file: String,
    /// What could not be asked, and why.
    pub(super) missing: BTreeMap<&'static str, String>,
}

/// Asks everything, and writes it.
///
/// # Errors
/// When the file cannot be written.
pub(super) async fn write(
    compilers: &mut Compilers,
    asker: &Asker<'_>,
    with_addresses: bool,
) -> Result<Written, Failure> {
    let now = Timestamp { nanos: 0, ..Timestamp::from(SystemTime::now()) };
    let mut bundle = Bundle { answers: BTreeMap::new(), missing: BTreeMap::new() };
    bundle.ask(compilers, asker).await;
    let name = format!("flock-bundle-{}", now.to_string().replace(['-', ':'], ""));
    let file = format!("{name}.tar.gz");
    let mut pseudonyms = (!with_addresses).then(Pseudonyms::default);
    let mut archive = Archive::new(u64::try_from(now.seconds).unwrap_or_default());
    let mut add = |path: &str, text: &str| {
        let text = match &mut pseudonyms {
            Some(pseudonyms) => pseudonyms.replace(text),
            None => text.to_owned(),
        };
        archive.add(&format!("{name}/{path}"), text.as_bytes());
    };
    add("README.txt", &readme(&now, with_addresses, &bundle.missing));
    for (path, answer) in &bundle.answers {
        add(path, answer);
    }
    std::fs::write(Path::new(&file), archive.finish())
        .map_err(|error| Failure::question(format!("cannot write {file}: {error}")))?;
    Ok(Written { file, missing: bundle.missing })
}

fn readme(now: &Timestamp, with_addresses: bool, missing: &BTreeMap<&'static str, String>) -> String {
    let addresses = match with_addresses {
        true => "Addresses are as they are.",
        false => "Each address is replaced by a made-up name, the same in all files.",
    };
    let missing: String = missing.iter().map(|(name, why)| format!("{name} is missing: {why}\n")).collect();
    format!(
        "Answers of flock-netpol's compilers at {now}, by flockctl {}.\nNames of objects and their labels are in them, \
         secrets are not. {addresses}\n{missing}",
        Version::of_this_build(&[])
    )
}

/// What was answered, as JSON by file.
struct Bundle {
    answers: BTreeMap<&'static str, String>,
    missing: BTreeMap<&'static str, String>,
}

impl Bundle {
    async fn ask(&mut self, compilers: &mut Compilers, asker: &Asker<'_>) {
        let namespace = asker.namespace.map(ToString::to_string).unwrap_or_default();
        // No answer ends it: bundles are wanted when something does not answer.
        let nodes = nodes::look(&mut compilers.replicas).await;
        let nodes = nodes.and_then(|view| value(&view.rows.iter().map(view::Node::from).collect::<Vec<_>>()));
        self.keep(compilers, "nodes.json", nodes).await;
        let report = check::report(&compilers.target, asker).await;
        let report = report.and_then(|report| value(&report));
        self.keep(compilers, "check.json", report).await;
        let problems = asker.all_problems(&mut compilers.replicas).await;
        let problems =
            problems.and_then(|all| value(&all.iter().map(view::Problem::from).collect::<Vec<_>>()));
        self.keep(compilers, "problems.json", problems).await;
        let request = v1::ListPoliciesRequest { namespace: namespace.clone(), name: String::new() };
        let policies = compilers.policies(&request).await;
        self.keep(compilers, "policies.json", policies).await;
        let request = v1::LintRequest { namespace: namespace.clone(), manifests: Vec::new() };
        let findings = compilers.lint(&request).await;
        self.keep(compilers, "lint.json", findings).await;
        let open = compilers.list_open(&v1::ListOpenRequest { namespace: namespace.clone() }).await;
        self.keep(compilers, "open.json", open).await;
        let request = v1::WatchDropsRequest {
            namespace: namespace.clone(),
            since: Some(SINCE),
            ..v1::WatchDropsRequest::default()
        };
        let drops = compilers.drops(&request).await;
        self.keep(compilers, "drops.json", drops).await;
        let passes = compilers.passes(&v1::ListPassesRequest { namespace, since: Some(SINCE) }).await;
        self.keep(compilers, "history.json", passes).await;
    }

    /// Keeps an answer, or why there is none: then whoever may still answer is gone to again.
    async fn keep(
        &mut self,
        compilers: &mut Compilers,
        name: &'static str,
        answer: Result<impl Serialize, Failure>,
    ) {
        let json = answer.and_then(|answer| {
            serde_json::to_string_pretty(&answer).map_err(|error| Failure::from(anyhow::Error::from(error)))
        });
        match json {
            Ok(json) => drop(self.answers.insert(name, json + "\n")),
            Err(failure) => {
                self.missing.insert(name, failure.words());
                // If nobody can be reached, the next question says so.
                let _ = compilers.reopen().await;
            }
        }
    }
}

fn value(answer: &impl Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(answer).map_err(|error| anyhow::Error::from(error).into())
}
