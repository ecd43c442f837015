//! What is asked for: which kernels, which nft, which tests.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Boots Debian's kernels in emulated machines and shows what they and several nft make of our tables.
#[derive(Debug, Parser)]
#[command(name = "deploy/kernels")]
pub(crate) struct Options {
    /// Kernels by Debian's release: 11 (5.10), 12 (6.1), 13 (6.12), testing; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    kernel: Vec<Kernel>,
    /// Versions of nft: that of this machine, that of Debian 13, that of testing; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    nft: Vec<NftVersion>,
    /// Tests; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// One kernel (13 unless another is given), this machine's nft, goldens only: under two minutes.
    #[arg(long)]
    smoke: bool,
    /// Runs this command in a guest (kernel 13 and this machine's nft unless others are given) and shows its output.
    /// It sees this machine's files; what it writes is gone with the guest.
    #[arg(long, value_name = "CMD")]
    pub(crate) shell: Option<String>,
    /// How much longer than on this machine everything may take in a guest.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) patience: u32,
    /// Minutes that one test program may take in a guest.
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// Print Markdown.
    #[arg(long)]
    pub(crate) markdown: bool,
}

/// A kernel, by the release of Debian that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// 5.10
    #[value(name = "11")]
    Bullseye,
    /// 6.1
    #[value(name = "12")]
    Bookworm,
    /// 6.12
    #[value(name = "13")]
    Trixie,
    /// The newest.
    Testing,
}

impl Kernel {
    /// As users write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "11",
            Self::Bookworm => "12",
            Self::Trixie => "13",
            Self::Testing => "testing",
        }
    }
}

/// An nft, by where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NftVersion {
    /// What this machine has, such as 1.0.6.
    #[value(alias = "1.0.6")]
    Host,
    /// Debian 13's.
    #[value(name = "1.1.3", alias = "13")]
    Trixie,
    /// The newest.
    #[value(alias = "1.1.7")]
    Testing,
}

impl NftVersion {
    /// As users write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Trixie => "1.1.3",
            Self::Testing => "testing",
        }
    }

    /// In words.
    pub(crate) const fn source(self) -> &'static str {
        match self {
            Self::Host => "this machine",
            Self::Trixie => "Debian 13",
            Self::Testing => "Debian testing",
        }
    }
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Full scripts load.
    Goldens,
    /// Verdicts on real packets.
    Packets,
    /// What pods hand to tunnels never comes out.
    Tunnels,
    /// A history of deltas ends where the full script does.
    Deltas,
    /// An agent's life.
    Agent,
    /// An agent tells what goes past the rules: bridges, flowtables, IPVS.
    Facts,
}

impl Part {
    /// As users write it, and what its results are called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            other => other.title(),
        }
    }

    /// The column's title.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Goldens => "goldens",
            Self::Packets => "real packets",
            Self::Tunnels => "tunnels",
            Self::Deltas => "deltas",
            Self::Agent => "agent",
            Self::Facts => "facts",
        }
    }
}

impl Options {
    /// Kernels in the order of the table.
    pub(crate) fn kernels(&self) -> Vec<Kernel> {
        match &self.kernel[..] {
            [] if self.smoke || self.shell.is_some() => vec![Kernel::Trixie],
            [] => Kernel::value_variants().to_vec(),
            given => given.to_vec(),
        }
    }

    /// Versions of nft in the order of the table.
    pub(crate) fn nfts(&self) -> Vec<NftVersion> {
        match &self.nft[..] {
            [] if self.smoke || self.shell.is_some() => vec![NftVersion::Host],
            [] => NftVersion::value_variants().to_vec(),
            given => given.to_vec(),
        }
    }

    /// Tests in the order of the table.
    pub(crate) fn parts(&self) -> Vec<Part> {
        match &self.only[..] {
            [] if self.smoke => vec![Part::Goldens],
            [] => Part::value_variants().to_vec(),
            given => given.to_vec(),
        }
    }

    /// How long one program may take in a guest.
    pub(crate) const fn limit(&self) -> Duration {
        Duration::from_secs(self.minutes * 60)
    }

    /// Where packages and results are kept: `FLOCK_KERNELS_CACHE`, or a folder in the user's cache.
    pub(crate) fn cache(&self) -> PathBuf {
        let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let user = || given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")));
        given("FLOCK_KERNELS_CACHE")
            .unwrap_or_else(|| user().unwrap_or_else(env::temp_dir).join("flock-netpol/kernels"))
    }
}
