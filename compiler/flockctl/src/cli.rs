//! The command line of `flockctl`.

use clap::{Parser, Subcommand, ValueEnum};
use flock_shared::dial::CompilerUrl;

/// Asks a flock-netpol compiler what each node should have and what it has.
#[derive(Debug, Parser)]
#[command(name = "flockctl", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Where the compiler serves gRPC, such as http://127.0.0.1:7443.
    #[arg(
        long,
        global = true,
        env = "FLOCK_COMPILER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7443"
    )]
    pub(crate) compiler: CompilerUrl,
    /// How to print.
    #[arg(short, long, global = true, env = "FLOCK_OUTPUT", value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// What to ask.
    #[command(subcommand)]
    pub(crate) command: Command,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
