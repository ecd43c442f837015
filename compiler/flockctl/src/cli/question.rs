//! Questions about policy as they are typed, and what they come to.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Subcommand, ValueEnum};
use flock_proto::v1;
use flock_shared::{NamespaceName, ObjectName};

use super::time::duration;
use crate::ask::{Awaited, FailOn, PolicyQuestion, TypedEnd, TypedPort, end};

/// What is typed.
#[derive(Debug, Subcommand)]
pub(super) enum TypedQuestion {
    /// Why a flow passes or does not: which policy, which rule, and what the nodes' tables say. Exit 0 if it is allowed, 1 if it
    /// is denied; 2 for what cannot be asked; 3 if no compiler can be reached; 4 if objects and a table contradict each other.
    Explain {
        /// Where it comes from: NS/POD, NS/deploy/NAME (sts, ds, rs, job, cronjob), NS/svc/NAME, an address, internet, node/NAME
        from: String,
        /// Where it goes, in the same forms; of a Service each endpoint that is ready
        to: String,
        /// The destination's port, such as 5432 or 53/UDP; of a Service also by name
        #[arg(value_name = "PORT[/PROTO]", required_unless_present = "selector")]
        port: Option<String>,
        #[command(flatten)]
        selected: Selected,
        #[command(flatten)]
        given: Given,
    },
    /// Whether a flow passes: yes or no. Exits as explain does.
    #[command(override_usage = usage("can FROM reach TO:PORT[/PROTO]"))]
    Can {
        /// Where it comes from, as in explain
        from: String,
        /// The word `reach`
        #[arg(value_name = "reach")]
        word: String,
        // No doc comment: brackets would be a link.
        #[arg(
            help = "Where it goes: shop/db:5432, shop/svc/dns:53/UDP, 10.0.0.1:80, [fd00::1]:80",
            value_name = "TO:PORT[/PROTO]",
            required_unless_present = "selector"
        )]
        to: Option<String>,
        #[command(flatten)]
        selected: Selected,
        #[command(flatten)]
        given: Given,
    },
    /// Who may reach something, at which ports, and what allows it. Exit 0; 2 for what cannot be asked; 3 if no compiler can be
    /// reached.
    #[command(override_usage = usage("who-can reach TO[:PORT]"))]
    WhoCan {
        /// The word `reach`
        #[arg(value_name = "reach", value_parser = [REACH])]
        word: String,
        /// What is to be reached, as in explain; with a port only that one
        #[arg(value_name = "TO[:PORT]", required_unless_present = "selector")]
        to: Option<String>,
        #[command(flatten)]
        selected: Selected,
        #[command(flatten)]
        given: Given,
    },
    /// What something may reach, at which ports, and what allows it. Exits as who-can does.
    Reach {
        /// Where flows come from, as in explain
        #[arg(required_unless_present = "selector")]
        from: Option<String>,
        #[command(flatten)]
        selected: Selected,
        #[command(flatten)]
        given: Given,
    },
    /// What may reach what, by workload. Exits as who-can does.
    Matrix {
        /// Only these ports, with commas: 80,443,53/UDP
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = number)]
        ports: Vec<v1::Port>,
        #[command(flatten)]
        given: Given,
    },
    /// Pods that nothing isolates, by workload and direction. Exits as who-can does.
    Open {
        #[command(flatten)]
        given: Given,
    },
    /// Policies: what they select, where they are in force and what is to be noted of them. Exits as who-can does.
    Policies {
        /// Only this one
        name: Option<ObjectName>,
    },
    /// Wait until a policy is in force everywhere, or gone, or until nodes are current. Exit 0 when it is so, 1 if the time is
    /// over (what is missing is named); 2 for what cannot be asked; 3 if no compiler can be reached.
    Wait {
        /// networkpolicy/NAME (with -n NAMESPACE), or nodes
        #[arg(value_name = "networkpolicy/NAME|nodes")]
        what: String,
        /// What is waited for
        #[arg(long = "for", value_enum, default_value = "enforced")]
        until: Until,
        /// How long: 90s, 2m
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
        timeout: Duration,
        /// Of nodes: also those that have no agent
        #[arg(long)]
        all: bool,
    },
    /// What would change if manifests were applied: which flows open, which close. Exit 0 if nothing changes, 1 if something
    /// does (or what --fail-on names); 2 for what cannot be asked; 3 if no compiler can be reached.
    Preview {
        /// What would be applied: a file, the manifests of a folder, or - for standard input; may be repeated
        #[arg(short, long = "filename", value_name = "FILE|DIR", required_unless_present = "delete")]
        files: Vec<PathBuf>,
        /// What would be deleted; may be repeated
        #[arg(long, value_name = "networkpolicy/NS/NAME", value_parser = deleted)]
        delete: Vec<v1::PolicyName>,
        /// Exit 1 only for these changes
        #[arg(long, value_enum, default_value = "any")]
        fail_on: FailOn,
        #[command(flatten)]
        given: Given,
    },
    /// What is probably not meant: typos, what selects nothing, missing DNS. Exit 0 if there is nothing at or above
    /// --min-severity, 1 if there is; 2 for what cannot be asked; 3 if no compiler can be reached.
    Lint {
        /// The least that is shown and counts
        #[arg(long, value_enum, default_value = "warning")]
        min_severity: MinSeverity,
        #[command(flatten)]
        given: Given,
    },
    /// Flows that were dropped, and why. Exits as who-can does.
    Drops {
        /// Go on with those that come
        #[arg(short, long)]
        follow: bool,
        /// How far back: 15m, 1h
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
        since: Duration,
        /// By workload, those with most packets first
        #[arg(long, conflicts_with = "follow")]
        top: bool,
        /// Only from this end, as in explain
        #[arg(long, value_name = "END")]
        from: Option<String>,
        /// Only to this end
        #[arg(long, value_name = "END")]
        to: Option<String>,
    },
    /// What has changed, and when the nodes had it. Exits as who-can does.
    History {
        /// How far back: 15m, 1h
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
        since: Duration,
    },
    /// What is enforced where; as JSON the receipt that `flock-compiler verify` proves from the objects. Exits as who-can does.
    Receipt,
    /// Answers to all questions as a tar.gz for a bug report, without secrets. Exit 0; 2 if it cannot be written.
    Bundle {
        /// With addresses as they are: else each is replaced by the same made-up name everywhere
        #[arg(long)]
        with_addresses: bool,
    },
}

/// Pods by their labels.
#[derive(Debug, Args)]
pub(super) struct Selected {
    /// Pods with these labels in place of the end that is left out (before the other end: FROM; after it: TO); with -n of one
    /// namespace
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
}

/// Where the objects are.
#[derive(Debug, Args)]
pub(super) struct Given {
    /// Ask manifests in place of a cluster: a file, or a folder's; workloads stand for their pods. May be repeated
    #[arg(long, value_name = "PATH")]
    manifests: Vec<PathBuf>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Until {
    /// It is in force on every node that has pods of it
    Enforced,
    /// It is deleted, and no node enforces it
    Gone,
}

/// The least severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "severities")]
pub(super) enum MinSeverity {
    Info,
    Warning,
    Error,
}

/// The word between both ends.
const REACH: &str = "reach";

fn usage(text: &str) -> String {
    format!("{text} [OPTIONS]")
}

fn wrong(message: impl std::fmt::Display) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, message)
}

fn number(text: &str) -> Result<v1::Port, String> {
    TypedPort::read(text)?.number()
}

fn deleted(text: &str) -> Result<v1::PolicyName, String> {
    let expected = || format!("{text:?}: expected networkpolicy/NAMESPACE/NAME");
    let [kind, namespace, name] = text.split('/').collect::<Vec<_>>()[..] else { return Err(expected()) };
    if !is_policy(kind) {
        return Err(expected());
    }
    let namespace = NamespaceName::new(namespace).map_err(|error| format!("{}: {error}", expected()))?;
    let name = ObjectName::new(name).map_err(|error| format!("{}: {error}", expected()))?;
    Ok(v1::PolicyName { namespace: namespace.to_string(), name: name.to_string() })
}

/// Returns true for the names that kubectl takes for the kind.
fn is_policy(kind: &str) -> bool {
    ["networkpolicy", "networkpolicies", "netpol"].contains(&kind)
}

impl TypedQuestion {
    /// The question, and the manifests to be asked; without any the compilers are.
    ///
    /// # Errors
    /// With what was expected in place of what was typed.
    pub(super) fn read(
        self,
        matches: &ArgMatches,
        namespace: Option<&NamespaceName>,
    ) -> Result<(PolicyQuestion, Vec<PathBuf>), clap::Error> {
        let typed = |text: &str| TypedEnd::read(text, namespace).map_err(wrong);
        let chosen = |selector: &str| TypedEnd::selected(selector, namespace);
        let question = match self {
            Self::Explain { from, to, port, selected, given } => {
                // With `-l` one end is not typed, and what follows moves up: clap has read the port for TO.
                let (from, to, port) = match (port, selected.selector) {
                    (Some(port), None) => (typed(&from)?, typed(&to)?, port),
                    (None, Some(selector)) if comes_first(matches) => (chosen(&selector), typed(&from)?, to),
                    (None, Some(selector)) => (typed(&from)?, chosen(&selector), to),
                    (Some(_), Some(_)) => {
                        return Err(wrong("-l SELECTOR takes the place of FROM or of TO: leave one out"));
                    }
                    (None, None) => return Err(wrong("expected FROM TO PORT[/PROTO]")),
                };
                let port = TypedPort::read(&port).map_err(wrong)?;
                return Ok((PolicyQuestion::Explain { from, to, port }, given.manifests));
            }
            Self::Can { from, word, to, selected, given } => {
                let expected = "expected FROM reach TO:PORT[/PROTO]";
                // Where FROM is not typed, clap has read `reach` for it, and TO for the word.
                let (from, word, to, selector) = match (to, selected.selector) {
                    (Some(to), selector) => (Some(from), word, to, selector),
                    (None, Some(selector)) => (None, from, word, Some(selector)),
                    (None, None) => return Err(wrong(expected)),
                };
                if word != REACH {
                    return Err(wrong(format!("{expected}; found {word:?} in place of `reach`")));
                }
                let (to, port) = end::split_with_port(&to).map_err(wrong)?;
                let (from, to) = match (from, to, selector) {
                    (Some(from), "", Some(selector)) => (typed(&from)?, chosen(&selector)),
                    (None, to, Some(selector)) => (chosen(&selector), typed(to)?),
                    (Some(from), to, None) => (typed(&from)?, typed(to)?),
                    _ => return Err(wrong("-l SELECTOR takes the place of FROM, or of TO in `reach :PORT`")),
                };
                return Ok((PolicyQuestion::Can { from, to, port }, given.manifests));
            }
            Self::WhoCan { to, selected, given, .. } => {
                let to = to.unwrap_or_default();
                let (to, port) = match end::split(&to).map_err(wrong)? {
                    ("", port) => match selected.selector {
                        Some(selector) => (chosen(&selector), port),
                        None => return Err(wrong("expected reach TO[:PORT]")),
                    },
                    (_, _) if selected.selector.is_some() => {
                        return Err(wrong(
                            "-l SELECTOR takes the place of TO: give `reach` alone, or `reach :PORT`",
                        ));
                    }
                    (to, port) => (typed(to)?, port),
                };
                return Ok((PolicyQuestion::WhoCan { to, port }, given.manifests));
            }
            Self::Reach { from, selected, given } => {
                let from = match (from, selected.selector) {
                    (Some(from), None) => typed(&from)?,
                    (None, Some(selector)) => chosen(&selector),
                    _ => return Err(wrong("expected FROM or -l SELECTOR, one of them")),
                };
                return Ok((PolicyQuestion::Reach { from }, given.manifests));
            }
            Self::Matrix { ports, given } => return Ok((PolicyQuestion::Matrix { ports }, given.manifests)),
            Self::Open { given } => return Ok((PolicyQuestion::Open, given.manifests)),
            Self::Preview { files, delete, fail_on, given } => {
                return Ok((PolicyQuestion::Preview { files, delete, fail_on }, given.manifests));
            }
            Self::Lint { min_severity, given } => {
                return Ok((PolicyQuestion::Lint { min_severity: min_severity.into() }, given.manifests));
            }
            Self::Policies { name } => PolicyQuestion::Policies { name },
            Self::Wait { what, until, timeout, all } => {
                PolicyQuestion::Wait { what: awaited(&what, until, all, namespace)?, timeout }
            }
            Self::Drops { follow, since, top, from, to } => {
                let [from, to] = [from, to].map(|end| end.map(|end| typed(&end)).transpose());
                PolicyQuestion::Drops { follow, since, top, from: from?, to: to? }
            }
            Self::History { since } => PolicyQuestion::History { since },
            Self::Receipt => PolicyQuestion::Receipt,
            Self::Bundle { with_addresses } => PolicyQuestion::Bundle { with_addresses },
        };
        Ok((question, Vec::new()))
    }
}

/// Returns true if `-l` was typed before the first end.
fn comes_first(matches: &ArgMatches) -> bool {
    let index = |name| matches.subcommand().and_then(|(_, matches)| matches.index_of(name));
    index("selector") < index("from")
}

fn awaited(
    what: &str,
    until: Until,
    all: bool,
    namespace: Option<&NamespaceName>,
) -> Result<Awaited, clap::Error> {
    let expected = "expected networkpolicy/NAME with -n NAMESPACE, or nodes";
    match (what.split('/').collect::<Vec<_>>().as_slice(), until) {
        (["nodes" | "node"], Until::Enforced) => Ok(Awaited::Nodes { all }),
        (["nodes" | "node"], Until::Gone) => Err(wrong("--for gone is for networkpolicy/NAME")),
        ([kind, name], _) if is_policy(kind) => {
            if all {
                return Err(wrong("--all is for nodes"));
            }
            let name =
                ObjectName::new(name).map_err(|error| wrong(format!("{what:?}: {error}; {expected}")))?;
            let Some(namespace) = namespace.cloned() else {
                return Err(wrong(format!("{what} is in a namespace: {expected}")));
            };
            Ok(match until {
                Until::Enforced => Awaited::Enforced { namespace, name },
                Until::Gone => Awaited::Gone { namespace, name },
            })
        }
        _ => Err(wrong(format!("{what:?}: {expected}"))),
    }
}

impl From<MinSeverity> for v1::Severity {
    fn from(severity: MinSeverity) -> Self {
        match severity {
            MinSeverity::Info => Self::Info,
            MinSeverity::Warning => Self::Warning,
            MinSeverity::Error => Self::Error,
        }
    }
}
