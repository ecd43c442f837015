//! The command line: what to ask, about which namespace, and where the compiler is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use flock_shared::dial::{CompilerUrl, Trust};
use flock_shared::{NamespaceName, ObjectName, access};
use flock_version::Version;

use crate::check::Question;
use crate::target::{Choice, ClusterOptions, Direct};
use crate::{Program, completion};

/// What `--version` says.
static VERSION: LazyLock<String> = LazyLock::new(|| Version::of_this_build(&[]).to_string());

/// Asks a flock-netpol compiler what each node should have and what it has.
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str(), disable_help_subcommand = true)]
struct Cli {
    /// How to print
    #[arg(short, long, global = true, env = "FLOCK_OUTPUT", value_enum, default_value = "table")]
    output: TypedFormat,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    scope: Scope,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The way to the compiler")]
struct TargetOptions {
    /// Where the compiler serves gRPC: http:// on loopback, or https://; of several replicas each, with commas. Without it the
    /// cluster of the kubeconfig is asked for the way; without a kubeconfig either, it is http://127.0.0.1:7443
    #[arg(long, global = true, env = "FLOCK_COMPILER", value_name = "URL", value_delimiter = ',')]
    compiler: Vec<CompilerUrl>,
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

/// What is typed.
#[derive(Debug, Subcommand)]
enum TypedCommand {
    /// Is all well: compilers, agents, what is enforced, what passes the rules by, who else enforces. Exit 0 if it is, 1 if
    /// something is not (warnings are shown, and do not count); 2 for what cannot be asked; 3 if nobody can be reached.
    Check {
        /// Before an install: is the cluster fit for it. Asks the API server alone
        #[arg(long)]
        pre: bool,
        /// Ask again and again until all is well, for so long: 90s, 2m, 1m30s
        #[arg(long, env = "FLOCK_WAIT", value_name = "TIME", default_value = "0s", value_parser = duration)]
        wait: Duration,
    },
    #[command(flatten)]
    Other(Command),
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What is checked.
    #[command(skip)]
    Check {
        /// How.
        question: Question,
    },
    /// Nodes: the revision that each should have and the one it has. Exit 0 if all are current, 1 if some are not, or it is not
    /// known; 2 for what cannot be asked; 3 if no compiler can be reached.
    Nodes {
        /// Only these nodes; without a name all of them
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only those that are not current
        #[arg(long)]
        behind: bool,
        /// Go on, with a line for each node that changes
        #[arg(short, long)]
        watch: bool,
    },
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

/// All there is to call.
#[derive(Debug, Subcommand)]
enum Subcommands {
    #[command(flatten)]
    Ask(TypedCommand),
    /// Which version this is; no compiler is asked.
    Version,
    /// Print what completes this program in a shell, to be sourced; `kubectl` is for kubectl_complete-flock, a file beside
    /// kubectl-flock.
    Completion {
        /// The shell.
        #[arg(value_enum)]
        shell: Completed,
    },
}

/// What can complete command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "names of shells")]
pub(crate) enum Completed {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

/// What is typed behind `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TypedFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs, and readable; not of `check`.
    Yaml,
    /// For people: what is not well; of `check` alone.
    Short,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs, and readable.
    Yaml,
}

/// How `check` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckFormat {
    /// For people.
    Table,
    /// For people: what is not well.
    Short,
    /// For programs.
    Json,
}

impl TypedCommand {
    /// With how it is printed.
    fn with(self, output: TypedFormat) -> Result<(Command, Format), clap::Error> {
        let refuse = |message| Err(clap::Error::raw(ErrorKind::InvalidValue, message));
        match (self, output) {
            (Self::Check { .. }, TypedFormat::Yaml) => refuse("check prints table, short or json\n"),
            (Self::Check { pre, wait }, output) => {
                let (format, other) = match output {
                    TypedFormat::Table | TypedFormat::Yaml => (CheckFormat::Table, Format::Table),
                    TypedFormat::Short => (CheckFormat::Short, Format::Table),
                    TypedFormat::Json => (CheckFormat::Json, Format::Json),
                };
                Ok((Command::Check { question: Question { pre, wait, format } }, other))
            }
            (Self::Other(_), TypedFormat::Short) => refuse("-o short is for check\n"),
            (Self::Other(command), TypedFormat::Table) => Ok((command, Format::Table)),
            (Self::Other(command), TypedFormat::Json) => Ok((command, Format::Json)),
            (Self::Other(command), TypedFormat::Yaml) => Ok((command, Format::Yaml)),
        }
    }
}

/// The longest time that is waited.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A time as Go writes it: numbers with h, m, s or ms, the larger unit first.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 90s or 2m, at most {} h", LONGEST.as_secs() / 3600);
    let (mut rest, mut total) = (text, Duration::ZERO);
    let units = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1000)];
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, after) = rest.split_at(end);
        let (unit, milliseconds) =
            units.into_iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(wrong)?;
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = after.strip_prefix(unit).unwrap_or_default();
    }
    if text.is_empty() || total > LONGEST { Err(wrong()) } else { Ok(total) }
}

/// What the command line comes to.
#[derive(Debug)]
pub(crate) enum Call {
    /// Nobody needs to be asked: this is the answer.
    Print(Vec<u8>),
    /// The compilers are asked.
    Ask(Options),
}

/// What to ask, and whom.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) output: Format,
    /// The namespace that is asked about; `None`: all.
    pub(crate) namespace: Option<NamespaceName>,
    pub(crate) target: Choice,
}

/// The command line of the program by that name.
pub(crate) fn command(program: Program) -> clap::Command {
    Cli::command().name(program.file()).bin_name(program.to_string())
}

/// Reads the command line and the environment.
pub(crate) fn parse(
    program: Program,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Call, clap::Error> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut command = command(program);
    // Before it is read: what is being typed is no command line yet.
    if arguments.get(1).is_some_and(|first| first == completion::ASKED) {
        let words = arguments.iter().skip(2).map(|word| word.to_string_lossy().into_owned());
        return Ok(Call::Print(completion::answer(&mut command, &words.collect::<Vec<_>>()).into_bytes()));
    }
    let call = command.try_get_matches_from_mut(arguments).and_then(|matches| {
        let Cli { target, scope, output, command } = Cli::from_arg_matches(&matches)?;
        let command = match command {
            Subcommands::Ask(command) => command,
            Subcommands::Version => return Ok(Call::Print(version(program, output))),
            Subcommands::Completion { shell } => return Ok(Call::Print(completion(program, shell))),
        };
        if scope.all_namespaces && by_hand(&matches, "namespace") {
            let message = "--namespace NAMESPACE is one, and --all-namespaces is all of them";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        let namespace = scope.namespace.filter(|_| !scope.all_namespaces);
        let (command, output) = command.with(output)?;
        Ok(Call::Ask(Options { command, output, namespace, target: target.choose(&matches)? }))
    });
    call.map_err(|error| error.format(&mut command))
}

/// This program, as it is asked for.
fn version(program: Program, format: TypedFormat) -> Vec<u8> {
    let Version { version, commit, .. } = Version::of_this_build(&[]);
    // Strings of digits, letters and dots need no escapes, in neither form.
    let commit = commit.map_or("null".to_owned(), |commit| format!("\"{commit}\""));
    let text = match format {
        TypedFormat::Table | TypedFormat::Short => format!("{} {}\n", program.file(), *VERSION),
        TypedFormat::Json => format!("{{\"version\": \"{version}\", \"commit\": {commit}}}\n"),
        TypedFormat::Yaml => format!("version: \"{version}\"\ncommit: {commit}\n"),
    };
    text.into_bytes()
}

fn completion(program: Program, shell: Completed) -> Vec<u8> {
    // By its file's name, as the shell calls it.
    let mut command = command(program).bin_name(program.file());
    let shell = match shell {
        Completed::Bash => Shell::Bash,
        Completed::Zsh => Shell::Zsh,
        Completed::Fish => Shell::Fish,
        Completed::Kubectl => return completion::kubectl().into_bytes(),
    };
    completion::script(shell, &mut command)
}

fn by_hand(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
}

impl TargetOptions {
    /// By URL or through a cluster. Options of both contradict each other; one that was typed beats one of the environment.
    fn choose(self, matches: &ArgMatches) -> Result<Choice, clap::Error> {
        let conflict = |message: String| Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        let typed = |options: &[&'static str]| options.iter().copied().find(|it| by_hand(matches, it));
        let cluster = self.kubeconfig.is_some() || self.context.is_some();
        let of_cluster = typed(&["kubeconfig", "context"]);
        let by_url = match self.compiler.first() {
            Some(_) if cluster && by_hand(matches, "compiler") == of_cluster.is_some() => {
                let option = if self.context.is_some() { "context" } else { "kubeconfig" };
                return conflict(format!("--compiler URL and --{option} are two ways to the compiler"));
            }
            Some(_) => of_cluster.is_none(),
            None => false,
        };
        if by_url {
            if let Some(option) = typed(&["compiler_namespace", "service_account"]) {
                let option = option.replace('_', "-");
                return conflict(format!(
                    "--{option} is for the way through the cluster, without --compiler URL"
                ));
            }
            let Self { compiler, ca_file, server_name, token_file, .. } = self;
            let direct = |url| direct(url, ca_file.clone(), server_name.clone(), token_file.clone());
            return compiler.into_iter().map(direct).collect::<Result<_, _>>().map(Choice::Urls);
        }
        if let Some(option) = typed(&["ca_file", "token_file", "server_name"]) {
            let option = option.replace('_', "-");
            return conflict(format!("--{option} is for --compiler https://HOST:PORT"));
        }
        let Self { kubeconfig, context, compiler_namespace: namespace, service_account: account, .. } = self;
        Ok(Choice::Cluster(ClusterOptions { kubeconfig, context, namespace, account }))
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
        let parsed = parse(Program::Flockctl, arguments.map(OsString::from)).map(|call| match call {
            Call::Ask(options) => options.target,
            Call::Print(text) => panic!("{text:?}"),
        });
        parsed.map_err(|error| {
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
        let urls = |arguments: &str| match choice(arguments) {
            Ok(Choice::Urls(urls)) => urls,
            other => panic!("{arguments}: {other:?}"),
        };
        let plain = urls("--compiler http://127.0.0.1:1");
        assert!(matches!(&plain[..], [Direct { trust: None, .. }]), "{plain:?}");
        for both in ["--compiler https://a,https://b", "--compiler https://a --compiler https://b"] {
            for url in urls(&format!("{both} --ca-file f --server-name s --token-file t")) {
                let trust = url.trust.unwrap();
                assert_eq!((trust.server_name, url.token_file), (Some("s".to_owned()), Some("t".into())));
            }
        }
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
    fn checking_has_formats_of_its_own() {
        let asked = |arguments: &str| {
            let arguments = std::iter::once("flockctl").chain(arguments.split_whitespace());
            match parse(Program::Flockctl, arguments.map(OsString::from)) {
                Ok(Call::Ask(options)) => Ok(options.command),
                Ok(Call::Print(text)) => panic!("{text:?}"),
                Err(error) => Err(error),
            }
        };
        let Ok(Command::Check { question }) = asked("check --pre --wait 1m30s -o short") else {
            panic!("no check")
        };
        assert!(question.pre && question.format == CheckFormat::Short);
        assert_eq!(question.wait, Duration::from_secs(90));
        for wrong in [
            "check -o yaml",
            "nodes -o short",
            "check --wait 2",
            "check --wait m",
            "check --wait 25h",
            "check --wait -1s",
        ] {
            assert_eq!(asked(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn times_are_read() {
        for (text, milliseconds) in [("0s", 0), ("250ms", 250), ("2m", 120_000), ("1h1m1s1ms", 3_661_001)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "2", "s", "1d", "1.5s", "99999999999999999999s", "99999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_program_knows_itself_asks_nobody() {
        let printed = |words: &[&str]| match parse(Program::KubectlPlugin, words.iter().map(OsString::from)) {
            Ok(Call::Print(text)) => String::from_utf8(text).unwrap(),
            other => panic!("{words:?}: {other:?}"),
        };
        // Not even options are judged that the way to a compiler would need.
        assert_eq!(
            printed(&["x", "version", "--compiler", "https://host"]),
            format!("kubectl-flock {}\n", *VERSION)
        );
        let json: serde_json::Value =
            serde_json::from_str(&printed(&["x", "version", "-o", "json"])).unwrap();
        assert_eq!(json["version"], flock_version::VERSION);
        assert!(printed(&["x", "version", "-o", "yaml"]).starts_with("version: \""));
        assert!(printed(&["x", "completion", "kubectl"]).contains("kubectl-flock __complete \"$@\""));
        assert!(printed(&["x", "completion", "zsh"]).starts_with("#compdef kubectl-flock"));
        // What is typed need be no command line yet.
        assert_eq!(
            printed(&["x", "__complete", "--context", "c", "prob"]).lines().next().map(|it| &it[..8]),
            Some("problems")
        );
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
