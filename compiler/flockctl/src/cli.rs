//! The command line: what to ask, about which namespace, and which way to take.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use flock_shared::dial::{CompilerUrl, Trust};
use flock_shared::{NamespaceName, ObjectName, access};

use crate::Program;
use crate::way::{Choice, Direct, Through};

/// Asks a flock-netpol compiler what each node should have and what it has.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
struct Cli {
    /// How to print
    #[arg(short, long, global = true, env = "FLOCK_OUTPUT", value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    way: WayOptions,
    #[command(flatten)]
    scope: Scope,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The way to the compiler")]
struct WayOptions {
    /// Where the compiler serves gRPC: http:// on loopback, or https://. Without it the cluster of the kubeconfig is asked
    /// for the way; without a kubeconfig either, it is http://127.0.0.1:7443
    #[arg(long, global = true, env = "FLOCK_COMPILER", value_name = "URL")]
    compiler: Option<CompilerUrl>,
    /// The certificates of the compiler's authorities, PEM, for https://
    #[arg(long, global = true, env = "FLOCK_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The token that is shown to the compiler over https://
    #[arg(long, global = true, env = "FLOCK_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name that the compiler's certificate is for, if it is not the host of the URL
    #[arg(long, global = true, env = "FLOCK_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
    /// The kubeconfig; without it $KUBECONFIG, or ~/.kube/config
    #[arg(long, global = true, env = "FLOCK_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it the current one
    #[arg(long, global = true, env = "FLOCK_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// The namespace that the compiler runs in
    #[arg(
        long,
        global = true,
        env = "FLOCK_COMPILER_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = access::NAMESPACE
    )]
    compiler_namespace: NamespaceName,
    /// The ServiceAccount there whose token is shown to the compiler
    #[arg(
        long,
        global = true,
        env = "FLOCK_SERVICE_ACCOUNT",
        value_name = "NAME",
        default_value = access::CLIENT_ACCOUNT
    )]
    service_account: ObjectName,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked about")]
struct Scope {
    /// Only problems of objects in this namespace
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    namespace: Option<NamespaceName>,
    /// Problems of all namespaces: the default, whatever namespace the context names
    #[arg(short = 'A', long, global = true)]
    all_namespaces: bool,
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All nodes: the revision that each should have and the one it has.
    Nodes,
    /// The full script of a node, as nft reads it.
    Script {
        /// The node.
        node: String,
    },
    /// What a node enforces, before it becomes a script.
    Output {
        /// The node.
        node: String,
    },
    /// The status of a node, now and after each change.
    Watch {
        /// The node.
        node: String,
    },
    /// What is not understood or contradictory among the cluster's objects.
    Problems,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs, and readable.
    Yaml,
}

/// What the command line comes to.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) output: Format,
    /// The namespace that is asked about; `None`: all.
    pub(crate) namespace: Option<NamespaceName>,
    pub(crate) way: Choice,
}

/// Reads the command line and the environment.
pub(crate) fn parse(
    program: Program,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Options, clap::Error> {
    let name = match program {
        Program::Flockctl => "flockctl",
        Program::KubectlPlugin => "kubectl-flock",
    };
    let mut command = Cli::command().name(name).bin_name(program.to_string());
    let options = command.try_get_matches_from_mut(arguments).and_then(|matches| {
        let Cli { way, scope, output, command } = Cli::from_arg_matches(&matches)?;
        if scope.all_namespaces && by_hand(&matches, "namespace") {
            let message = "--namespace NAMESPACE is one, and --all-namespaces is all of them";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        let namespace = scope.namespace.filter(|_| !scope.all_namespaces);
        Ok(Options { command, output, namespace, way: way.choose(&matches)? })
    });
    options.map_err(|error| error.format(&mut command))
}

fn by_hand(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
}

impl WayOptions {
    /// Which way to take. Options of both ways contradict each other; one that was typed beats one of the environment.
    fn choose(self, matches: &ArgMatches) -> Result<Choice, clap::Error> {
        let conflict = |message: String| Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        let typed = |options: &[&'static str]| options.iter().copied().find(|it| by_hand(matches, it));
        let cluster = self.kubeconfig.is_some() || self.context.is_some();
        let of_cluster = typed(&["kubeconfig", "context"]);
        let by_url = match &self.compiler {
            Some(_) if cluster && by_hand(matches, "compiler") == of_cluster.is_some() => {
                let option = if self.context.is_some() { "context" } else { "kubeconfig" };
                return conflict(format!("--compiler URL and --{option} are two ways to the compiler"));
            }
            Some(_) => of_cluster.is_none(),
            None => false,
        };
        if let (true, Some(url)) = (by_url, self.compiler) {
            if let Some(option) = typed(&["compiler_namespace", "service_account"]) {
                let option = option.replace('_', "-");
                return conflict(format!(
                    "--{option} is for the way through the cluster, without --compiler URL"
                ));
            }
            return direct(url, self.ca_file, self.server_name, self.token_file).map(Choice::Url);
        }
        if let Some(option) = typed(&["ca_file", "token_file", "server_name"]) {
            let option = option.replace('_', "-");
            return conflict(format!("--{option} is for --compiler https://HOST:PORT"));
        }
        let Self { kubeconfig, context, compiler_namespace: namespace, service_account: account, .. } = self;
        Ok(Choice::Cluster(Through { kubeconfig, context, namespace, account }))
    }
}

fn direct(
    url: CompilerUrl,
    ca_file: Option<PathBuf>,
    server_name: Option<String>,
    token_file: Option<PathBuf>,
) -> Result<Direct, clap::Error> {
    let trust = ca_file.map(|ca_file| Trust { ca_file, server_name });
    if trust.is_none() && !url.is_plaintext() {
        let message =
            format!("--compiler {url} needs --ca-file FILE, to know the compiler by its certificate");
        return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message));
    }
    Ok(Direct { url, trust, token_file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(arguments: &str) -> Result<Choice, String> {
        let arguments = ["flockctl", "nodes"].into_iter().chain(arguments.split_whitespace());
        let parsed = parse(Program::Flockctl, arguments.map(OsString::from));
        parsed.map(|options| options.way).map_err(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_way_is_taken() {
        let url = choice("--compiler http://127.0.0.1:1").unwrap();
        assert!(matches!(url, Choice::Url(Direct { trust: None, .. })), "{url:?}");
        let url = choice("--compiler https://10.0.0.1 --ca-file f --server-name s --token-file t").unwrap();
        let Choice::Url(Direct { trust: Some(trust), token_file, .. }) = url else { panic!("{url:?}") };
        assert_eq!((trust.server_name.as_deref(), token_file), (Some("s"), Some(PathBuf::from("t"))));
        for cluster in ["", "--context c", "--kubeconfig f --compiler-namespace n --service-account s"] {
            assert!(matches!(choice(cluster), Ok(Choice::Cluster(_))), "{cluster}");
        }
    }

    #[test]
    fn options_of_two_ways_are_refused() {
        for (arguments, told) in [
            ("--compiler http://127.0.0.1:1 --context c", "two ways"),
            ("--compiler http://127.0.0.1:1 --kubeconfig f", "--kubeconfig"),
            ("--compiler http://127.0.0.1:1 --service-account s", "--service-account is for"),
            ("--context c --ca-file f", "--ca-file is for --compiler"),
            ("--compiler https://host", "--ca-file FILE"),
            ("-n shop -A", "--all-namespaces"),
            ("--compiler-namespace No", "DNS-1123"),
        ] {
            let error = choice(arguments).unwrap_err();
            assert!(error.contains(told), "{arguments}: {error}");
        }
    }

    #[test]
    fn usage_says_the_name_that_was_typed() {
        for (program, usage) in
            [(Program::Flockctl, "Usage: flockctl "), (Program::KubectlPlugin, "Usage: kubectl flock ")]
        {
            for arguments in
                [&["x", "--help"][..], &["x", "script"], &["x", "script", "--help"], &["x", "-n"]]
            {
                let error = parse(program, arguments.iter().map(OsString::from)).unwrap_err().to_string();
                assert!(error.contains(usage) || arguments == ["x", "-n"], "{arguments:?}: {error}");
            }
        }
    }
}
