//! What can go wrong while a lab is built or measured. A dropped packet is a verdict, never an error.

use std::io;
use std::net::IpAddr;

/// Why the lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program (`ip`, `nft`) could not be started or fed.
    #[error("{program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("{program} failed in namespace {namespace}: {stderr}\ninput:\n{input}")]
    Command {
        /// The program with its arguments.
        program: String,
        /// The network namespace, or `-` for the one of this process.
        namespace: String,
        /// What the program wrote to standard error.
        stderr: String,
        /// What it was fed on standard input.
        input: String,
    },
    /// A system call in a namespace failed.
    #[error("{what} in namespace {namespace}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The network namespace.
        namespace: String,
        /// What the system said.
        source: io::Error,
    },
    /// A node or pod of this name exists in the lab already.
    #[error("the lab has a host named {name:?} already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Names become file and namespace names.
    #[error("{name:?} is no name of a host: letters, digits, '-', '.' and '_', at most 60")]
    Name {
        /// The name.
        name: String,
    },
    /// The source and the target of a probe are of different families.
    #[error("a probe from {source_address} to {target} mixes the address families")]
    Families {
        /// The source given.
        source_address: IpAddr,
        /// The target given.
        target: IpAddr,
    },
}

/// The result of everything that builds or measures.
pub type Result<T, E = LabError> = std::result::Result<T, E>;
