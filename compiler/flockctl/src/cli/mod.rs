//! The command line: what to ask, about which namespace, and where the compiler is.

mod question;
pub(crate) mod shape;
mod target;
mod time;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use flock_shared::NamespaceName;
use flock_version::Version;

use self::question::TypedQuestion;
pub(crate) use self::shape::Shape;
use self::target::{TargetOptions, by_hand};
use self::time::duration;
use crate::ask::PolicyQuestion;
use crate::check::Question;
use crate::target::Choice;
use crate::{Program, completion};

/// What `--version` says.
static VERSION: LazyLock<String> = LazyLock::new(|| Version::of_this_build(&[]).to_string());

/// Asks a flock-netpol compiler what each node should have and what it has.
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str(), disable_help_subcommand = true)]
struct Cli {
    /// How to print
    #[arg(short, long, global = true, env = "FLOCK_OUTPUT", value_enum, default_value = "table")]
    output: Shape,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    scope: Scope,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked about")]
struct Scope {
    /// Only what is of this namespace
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    namespace: Option<NamespaceName>,
    /// What is of all namespaces: the default, whatever namespace the context names
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
    /// A question about policy.
    #[command(skip)]
    Ask {
        /// What is asked.
        question: PolicyQuestion,
        /// How it is printed.
        shape: Shape,
    },
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
    Question(TypedQuestion),
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
    fn with(self, shape: Shape) -> (Command, Format) {
        match self {
            Self::Check { pre, wait } => {
                let question = Question { pre, wait, format: shape.of_check() };
                (Command::Check { question }, shape.plain())
            }
            Self::Other(command) => (command, shape.plain()),
        }
    }
}

/// What the command line comes to.
#[derive(Debug)]
pub(crate) enum Call {
    /// Nobody needs to be asked: this is the answer.
    Print(Vec<u8>),
    /// The compilers are asked.
    Ask(Box<Options>),
}

/// What to ask, and whom.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) output: Format,
    /// The namespace that is asked about; `None`: all.
    pub(crate) namespace: Option<NamespaceName>,
    pub(crate) whom: Whom,
}

/// Who answers.
#[derive(Debug)]
pub(crate) enum Whom {
    /// The compilers that are there.
    Compilers(Choice),
    /// This program, from these files: no cluster is touched.
    Manifests(Vec<PathBuf>),
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
        let shape = match matches.subcommand_name() {
            // By the environment, what one command prints may be set for all.
            Some(name) if by_hand(&matches, "output") || shape::of(name).contains(&output) => {
                output.check(name)?
            }
            _ => Shape::Table,
        };
        if scope.all_namespaces && by_hand(&matches, "namespace") {
            let message = "--namespace NAMESPACE is one, and --all-namespaces is all of them";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        let namespace = scope.namespace.filter(|_| !scope.all_namespaces);
        let (command, output, whom) = match command {
            // Without `choose`: what the environment says of a way to the compiler must not fail these two.
            Subcommands::Version => return Ok(Call::Print(version(program, shape.plain()))),
            Subcommands::Completion { shell } => return Ok(Call::Print(completion(program, shell))),
            Subcommands::Ask(command) => {
                let (command, format) = command.with(shape);
                (command, format, Whom::Compilers(target.choose(&matches)?))
            }
            Subcommands::Question(typed) => {
                let (question, manifests) = typed.read(&matches, namespace.as_ref())?;
                let whom = match manifests.is_empty() {
                    true => Whom::Compilers(target.choose(&matches)?),
                    false => Whom::Manifests(target.none(&matches, manifests)?),
                };
                (Command::Ask { question, shape }, shape.plain(), whom)
            }
        };
        Ok(Call::Ask(Box::new(Options { command, output, namespace, whom })))
    });
    // Errors that were made by hand have no usage in them until a command formats them.
    call.map_err(|error| error.format(&mut command))
}

/// This program, as it is asked for.
fn version(program: Program, format: Format) -> Vec<u8> {
    let Version { version, commit, .. } = Version::of_this_build(&[]);
    // Strings of digits, letters and dots need no escapes, in neither form.
    let commit = commit.map_or("null".to_owned(), |commit| format!("\"{commit}\""));
    let text = match format {
        Format::Table => format!("{} {}\n", program.file(), *VERSION),
        Format::Json => format!("{{\"version\": \"{version}\", \"commit\": {commit}}}\n"),
        Format::Yaml => format!("version: \"{version}\"\ncommit: {commit}\n"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Direct;

    fn choice(arguments: &str) -> Result<Choice, String> {
        let arguments = ["flockctl", "nodes"].into_iter().chain(arguments.split_whitespace());
        let parsed = parse(Program::Flockctl, arguments.map(OsString::from)).map(|call| match call {
            Call::Ask(options) => match options.whom {
                Whom::Compilers(choice) => choice,
                Whom::Manifests(paths) => panic!("{paths:?}"),
            },
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
