//! Asking and printing: one question each.

use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use flock_proto::{ReceiptFile, v1};
use futures::StreamExt as _;
use futures::stream::{self, SelectAll};
use serde::Serialize;
use tonic::Streaming;

use super::compilers::Compilers;
use super::end::TypedEnd;
use super::local::Local;
use super::port::TypedPort;
use super::show::{self, Screen};
use super::{FailOn, PolicyQuestion, bundle, files, service, wait};
use crate::cli::Shape;
use crate::failure::{Failure, Kind};
use crate::nodes::say;
use crate::print;
use crate::report;
use crate::run::{Asker, Outcome};
use crate::table;

/// Who answers questions about objects.
pub(super) enum Respondent {
    /// The compilers of a cluster.
    Compilers(Box<Compilers>),
    /// This program, from manifests.
    Manifests(Box<Local>),
}

/// Answers a question.
///
/// # Errors
/// When it cannot be asked, or nobody answers.
pub(super) async fn respond(
    mut respondent: Respondent,
    question: PolicyQuestion,
    shape: Shape,
    asker: &Asker<'_>,
) -> Result<Outcome, Failure> {
    let namespace = asker.namespace.map(ToString::to_string).unwrap_or_default();
    let scope = asker.namespace.map(|it| it.as_str());
    let screen = Screen { wide: shape == Shape::Wide, colour: table::colour(), now: SystemTime::now() };
    match question {
        PolicyQuestion::Explain { from, to, port } => {
            let answer = respondent.explain(from, to, &port).await?;
            print(&answer, shape, |answer| show::explain::screen(answer, screen))?;
            Ok(verdict(&answer))
        }
        PolicyQuestion::Can { from, to, port } => {
            let answer = respondent.explain(from, to, &port).await?;
            let allowed = show::explain::passes(&answer);
            let shown = Answered { allowed, answer: &answer };
            print(&shown, shape, |_| match shape {
                Shape::Wide => show::explain::screen(&answer, screen),
                _ => show::explain::terse(&answer, screen),
            })?;
            Ok(verdict(&answer))
        }
        PolicyQuestion::WhoCan { to, port } => {
            let (end, port) = respondent.end(to, port.as_ref()).await?;
            respondent.reach(end, port, v1::Direction::Ingress, shape, screen).await
        }
        PolicyQuestion::Reach { from } => {
            let (end, _) = respondent.end(from, None).await?;
            respondent.reach(end, None, v1::Direction::Egress, shape, screen).await
        }
        PolicyQuestion::Matrix { ports } => {
            let rows = respondent.matrix(&v1::MatrixRequest { namespace, ports }).await?;
            print(&rows, shape, |rows| match shape {
                Shape::Md => show::matrix::markdown(rows),
                Shape::Csv => show::matrix::csv(rows),
                Shape::Dot => show::matrix::dot(rows),
                Shape::Svg => show::matrix::svg(rows),
                _ => show::matrix::screen(rows, screen),
            })?;
            Ok(Outcome::Yes)
        }
        PolicyQuestion::Open => {
            let rows = respondent.open(&v1::ListOpenRequest { namespace }).await?;
            print(&rows, shape, |rows| show::open::screen(rows, scope, screen))?;
            Ok(Outcome::Yes)
        }
        PolicyQuestion::Policies { name } => {
            let request = v1::ListPoliciesRequest {
                namespace,
                name: name.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            let rows = respondent.compilers()?.policies(&request).await?;
            if let (Some(name), true) = (&name, rows.is_empty()) {
                let place = scope.map(|it| format!(" in namespace {it}")).unwrap_or_default();
                return Err(Failure::question(format!("no NetworkPolicy {name}{place}")));
            }
            print(&rows, shape, |rows| show::policies::screen(rows, scope, screen))?;
            Ok(Outcome::Yes)
        }
        PolicyQuestion::Wait { what, timeout } => {
            let waited = wait::wait(respondent.compilers()?, &what, timeout).await?;
            if shape.is_for_programs() {
                print(&waited, shape, |_| String::new())?;
            } else if waited.done {
                print::write(&format!("{}\n", table::one_line(&waited.state)))?;
            }
            if !waited.done {
                // To standard error: what a script reads as the answer says only what is so.
                say(asker.program, &[format!("timed out: {}", table::one_line(&waited.state))]);
            }
            Ok(if waited.done { Outcome::Yes } else { Outcome::No })
        }
        PolicyQuestion::Preview { files, delete, fail_on } => {
            let manifests = files::read(&files)?;
            let rows = respondent.preview(v1::PreviewRequest { manifests, delete }).await?;
            print(&rows, shape, |rows| match shape {
                Shape::Md => report::preview::markdown(rows),
                Shape::Csv => report::preview::csv(rows),
                Shape::Sarif => pretty(&report::preview::sarif(rows, PROGRAM, flock_version::VERSION)),
                _ => show::preview::screen(rows, screen),
            })?;
            Ok(if fails(&rows, fail_on) { Outcome::No } else { Outcome::Yes })
        }
        PolicyQuestion::Lint { min_severity } => {
            let request = v1::LintRequest { namespace, manifests: Vec::new() };
            let all = respondent.lint(&request).await?;
            let (rows, below): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|finding| finding.severity >= i32::from(min_severity));
            print(&rows, shape, |rows| match shape {
                Shape::Md => report::findings::markdown(rows),
                Shape::Sarif => pretty(&report::findings::sarif(rows, PROGRAM, flock_version::VERSION)),
                _ => show::lint::screen(rows, below.len(), screen),
            })?;
            Ok(if rows.is_empty() { Outcome::Yes } else { Outcome::No })
        }
        PolicyQuestion::Drops { follow, since, top, from, to } => {
            let [mut ends, others] = [from, to].map(|end| vec![end]);
            ends.extend(others);
            let mut resolved = Vec::new();
            for end in ends {
                resolved.push(match end {
                    Some(end) => Some(respondent.end(end, None).await?.0),
                    None => None,
                });
            }
            // From the end: `to` was pushed last.
            let to = resolved.pop().flatten();
            let from = resolved.pop().flatten();
            let request = v1::WatchDropsRequest { namespace, from, to, since: Some(ago(since)), follow };
            let compilers = respondent.compilers()?;
            if follow {
                return watch_drops(compilers.follow_drops(&request).await?, shape, screen).await;
            }
            let rows = compilers.drops(&request).await?;
            print(&rows, shape, |rows| match top {
                true => show::drops::top(rows, screen),
                false => show::drops::screen(rows, screen),
            })?;
            Ok(Outcome::Yes)
        }
        PolicyQuestion::History { since } => {
            let request = v1::ListPassesRequest { namespace, since: Some(ago(since)) };
            let rows = respondent.compilers()?.passes(&request).await?;
            print(&rows, shape, |rows| show::history::screen(rows, screen))?;
            Ok(Outcome::Yes)
        }
        PolicyQuestion::Receipt => {
            let receipt = respondent.compilers()?.receipt(&v1::GetReceiptRequest { namespace }).await?;
            print(&ReceiptFile::from(receipt.clone()), shape, |_| show::receipt::screen(&receipt, screen))?;
            Ok(Outcome::Yes)
        }
        PolicyQuestion::Bundle { with_addresses } => {
            let file = bundle::write(respondent.compilers()?, asker, with_addresses).await?;
            print(&file, shape, |file| format!("{}\n", file.file))?;
            Ok(Outcome::Yes)
        }
    }
}

/// The tool of a SARIF log.
const PROGRAM: &str = "flockctl";

fn pretty(json: &serde_json::Value) -> String {
    format!("{json:#}\n")
}

/// What `can` answers as JSON.
#[derive(Serialize)]
struct Answered<'a> {
    allowed: bool,
    #[serde(flatten)]
    answer: &'a v1::ExplainResponse,
}

impl Respondent {
    /// The compilers.
    ///
    /// # Errors
    /// If manifests are asked: of these there is nothing in force.
    fn compilers(&mut self) -> Result<&mut Compilers, Failure> {
        match self {
            Self::Compilers(compilers) => Ok(compilers),
            Self::Manifests(_) => {
                Err(Failure::question("manifests cannot answer this: a cluster is to be asked".to_owned()))
            }
        }
    }

    /// An end as messages have it, and the port of it that is asked about.
    async fn end(
        &self,
        end: TypedEnd,
        port: Option<&TypedPort>,
    ) -> Result<(v1::End, Option<v1::Port>), Failure> {
        let (namespace, name) = match end {
            TypedEnd::Known(end) => {
                let port = port.map(TypedPort::number).transpose().map_err(Failure::question)?;
                return Ok((v1::End { end: Some(end) }, port));
            }
            TypedEnd::Service { namespace, name } => (namespace, name),
        };
        let (service, port) = match self {
            Self::Manifests(local) => local.service(&namespace, &name, port)?,
            Self::Compilers(compilers) => {
                let client = compilers.target.api().await?.map_err(|looked| {
                    Failure::question(format!(
                        "Service {namespace}/{name} is looked up at the API server, and there is no kubeconfig ({looked}): \
                         ask about its pods (NS/POD, NS/deploy/NAME), or leave --compiler out where there is one"
                    ))
                })?;
                service::resolve(&client, &namespace, &name, port).await?
            }
        };
        Ok((v1::End { end: Some(v1::end::End::Service(service)) }, port))
    }

    async fn explain(
        &mut self,
        from: TypedEnd,
        to: TypedEnd,
        port: &TypedPort,
    ) -> Result<v1::ExplainResponse, Failure> {
        let (from, _) = self.end(from, None).await?;
        let (to, port) = self.end(to, Some(port)).await?;
        let request = v1::ExplainRequest { from: Some(from), to: Some(to), port };
        match self {
            Self::Compilers(compilers) => compilers.explain(&request).await,
            Self::Manifests(local) => local.explain(&request),
        }
    }

    async fn reach(
        &mut self,
        end: v1::End,
        port: Option<v1::Port>,
        direction: v1::Direction,
        shape: Shape,
        screen: Screen,
    ) -> Result<Outcome, Failure> {
        let asked = end.end.clone();
        let request = v1::ReachRequest { end: Some(end), direction: direction.into(), port };
        let rows = match self {
            Self::Compilers(compilers) => compilers.reach(&request).await?,
            Self::Manifests(local) => local.reach(&request)?,
        };
        print(&rows, shape, |rows| show::reach::screen(rows, asked.as_ref(), direction, screen))?;
        Ok(Outcome::Yes)
    }

    async fn matrix(&mut self, request: &v1::MatrixRequest) -> Result<Vec<v1::MatrixRow>, Failure> {
        match self {
            Self::Compilers(compilers) => compilers.matrix(request).await,
            Self::Manifests(local) => local.matrix(request),
        }
    }

    async fn open(&mut self, request: &v1::ListOpenRequest) -> Result<Vec<v1::OpenRow>, Failure> {
        match self {
            Self::Compilers(compilers) => compilers.list_open(request).await,
            Self::Manifests(local) => local.list_open(request),
        }
    }

    async fn preview(&mut self, request: v1::PreviewRequest) -> Result<Vec<v1::PreviewRow>, Failure> {
        match self {
            Self::Compilers(compilers) => {
                // gRPC would refuse it, too, in words that do not say what to do.
                files::fit(&request.manifests)?;
                compilers.preview(&request).await
            }
            Self::Manifests(local) => local.preview(&request),
        }
    }

    async fn lint(&mut self, request: &v1::LintRequest) -> Result<Vec<v1::Finding>, Failure> {
        match self {
            Self::Compilers(compilers) => compilers.lint(request).await,
            Self::Manifests(local) => local.lint(request),
        }
    }
}

/// Contradictions first: they are ours.
fn verdict(answer: &v1::ExplainResponse) -> Outcome {
    match (show::explain::contradicts(answer), show::explain::passes(answer)) {
        (true, _) => Outcome::Contradiction,
        (false, true) => Outcome::Yes,
        (false, false) => Outcome::No,
    }
}

fn fails(rows: &[v1::PreviewRow], fail_on: FailOn) -> bool {
    rows.iter().any(|row| match fail_on {
        FailOn::Any => true,
        FailOn::Opened => row.change() == v1::Change::Opened,
        FailOn::Closed => row.change() == v1::Change::Closed,
    })
}

fn ago(since: Duration) -> prost_types::Duration {
    // A span and no time: the clocks of this machine and of the compilers may differ.
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default() }
}

impl Shape {
    /// Returns true for what programs read.
    const fn is_for_programs(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// Prints an answer: for programs as its messages are, else as `text` has it.
fn print<T: Serialize>(answer: &T, shape: Shape, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    let text = match shape {
        Shape::Json => serde_json::to_string_pretty(answer).map_err(anyhow::Error::from)? + "\n",
        Shape::Yaml => serde_saphyr::to_string(answer).map_err(anyhow::Error::from)?,
        _ => text(answer),
    };
    Ok(print::write(&text)?)
}

/// Drops as they come, from every replica, until none sends any more.
async fn watch_drops(
    streams: Vec<Streaming<v1::DropRow>>,
    shape: Shape,
    screen: Screen,
) -> Result<Outcome, Failure> {
    let mut all: SelectAll<_> = stream::select_all(streams);
    if !shape.is_for_programs() {
        print::write(&show::drops::head(screen))?;
    }
    while let Some(row) = all.next().await {
        let row = match row {
            Ok(row) => row,
            Err(status) => {
                // Streams are mixed: whose forwarding it was that broke is not known here.
                let failure = Failure::asked(&status, None).await;
                let kind = if failure.kind.is_question() { failure.kind } else { Kind::Ended };
                return Err(Failure { kind, ..failure });
            }
        };
        let line = match shape {
            Shape::Json => serde_json::to_string(&row).map_err(anyhow::Error::from)? + "\n",
            Shape::Yaml => format!("---\n{}", serde_saphyr::to_string(&row).map_err(anyhow::Error::from)?),
            // Of this moment: a watch may go on past midnight, and times of another day have a date.
            _ => show::drops::line(&row, Screen { now: SystemTime::now(), ..screen }),
        };
        print::write(&line)?;
    }
    let _ = io::stdout().flush();
    Err(Failure { kind: Kind::Ended, error: anyhow::anyhow!("the compilers have ended the watch") })
}
