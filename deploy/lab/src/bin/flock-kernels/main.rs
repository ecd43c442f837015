//! `flock-kernels`: Debian's stock kernels, booted in emulated machines, and what they and several nft make of our
//! tables: goldens, real packets, deltas, an agent's life. `deploy/kernels` installs what it needs, builds and runs it.
//!
//! Exit status: 0 when nothing was refused and no verdict wrong, 1 when something was or failed, 2 for wrong options,
//! 3 when packages cannot be had (nothing was tried).

mod debian;
mod guest;
mod initramfs;
mod modules;
mod options;
mod programs;
mod results;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use flock_lab::figures::{Cell, Table};
use flock_shared::causes;

use debian::{Debian, KernelFiles, NftFiles};
use guest::{Guest, Job};
use options::{Kernel, NftVersion, Options};
use results::{Outcome, outcome};

/// The exit status when the packages cannot be had.
const NO_PACKAGES: u8 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    let cache = options.cache();
    let files = match fetch(&options, &cache) {
        Ok(files) => files,
        Err(error) => return failed(&error.context("packages cannot be had"), NO_PACKAGES),
    };
    let done = match &options.shell {
        Some(command) => shell(&options, &files, command),
        None => table(&options, &files, &cache),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error, 1),
    }
}

#[allow(clippy::print_stderr, reason = "errors of a command go to standard error")]
fn failed(error: &anyhow::Error, status: u8) -> ExitCode {
    eprintln!("deploy/kernels: {}", causes(&**error));
    ExitCode::from(status)
}

#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
fn say(what: &str) {
    eprintln!("▸ {what}");
}

/// What guests are made of.
struct Files {
    busybox: PathBuf,
    kernels: Vec<(Kernel, KernelFiles)>,
    nfts: Vec<(NftVersion, NftFiles)>,
}

fn fetch(options: &Options, cache: &Path) -> Result<Files> {
    let debian = Debian::new(cache)?;
    let busybox = debian.busybox()?;
    let mut kernels = Vec::new();
    for kernel in options.kernels() {
        say(&format!("kernel of Debian {}", kernel.name()));
        kernels.push((kernel, debian.kernel(kernel)?));
    }
    let mut nfts = Vec::new();
    for version in options.nfts() {
        say(&format!("nft of {}", version.source()));
        nfts.push((version, debian.nft(version)?));
    }
    Ok(Files { busybox, kernels, nfts })
}

/// Runs one command in one guest, its output on standard output.
fn shell(options: &Options, files: &Files, command: &str) -> Result<bool> {
    let (_, kernel) = files.kernels.first().context("no kernel was asked for")?;
    let (_, nft) = files.nfts.first().context("no nft was asked for")?;
    let results = tempfile::tempdir().context("make a folder for results")?;
    let guest = Guest::new(&files.busybox, kernel, nft, results.path())?;
    let job = Job { name: "shell".to_owned(), command: command.to_owned(), limit: options.limit() };
    let statuses = guest.run(&[job], options.patience, true)?;
    Ok(statuses == [Some(0)])
}

/// One guest for each kernel and nft, and the table of what they said.
fn table(options: &Options, files: &Files, cache: &Path) -> Result<bool> {
    say("building the tests");
    let parts = options.parts();
    let programs = programs::build(&parts)?;
    let mut header = vec!["kernel", "nft"];
    header.extend(parts.iter().map(|part| part.title()));
    let mut table = Table::new(header);
    let (mut all_well, mut notes) = (true, Vec::new());
    for (name, kernel) in &files.kernels {
        for (version, nft) in &files.nfts {
            let title = format!("{} (Debian {}), nft {}", kernel.version, name.name(), nft.version);
            say(&title);
            let results = cache.join("results").join(format!("{}-{}", name.name(), version.name()));
            // What an earlier run left there says nothing of this one.
            if results.exists() {
                fs::remove_dir_all(&results).with_context(|| format!("remove {}", results.display()))?;
            }
            fs::create_dir_all(&results).with_context(|| format!("make {}", results.display()))?;
            let guest = Guest::new(&files.busybox, kernel, nft, &results)?;
            let jobs: Vec<Job> = programs.iter().map(|program| program.job(options.limit())).collect();
            let statuses = guest.run(&jobs, options.patience, false)?;
            let mut row: Vec<Cell> = vec![
                format!("{} (Debian {})", kernel.version, name.name()).into(),
                nft.version.clone().into(),
            ];
            for ((program, job), status) in programs.iter().zip(&jobs).zip(statuses) {
                let file = results.join(&job.name);
                let text = String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()).into_owned();
                let Outcome { said, is_well, words } = outcome(program.part, &text, status);
                say(&format!("{}: {said}", program.part.title()));
                all_well &= is_well;
                notes.extend(words.into_iter().map(|line| format!("{title}: {line}")));
                if !is_well {
                    notes.push(format!("{title}: all of it is in {}", file.display()));
                }
                row.push(Cell::at_most(said, if is_well { 0.0 } else { 1.0 }, 0.0));
            }
            table.cells(row);
        }
    }
    table.print(options.markdown).context("print the table")?;
    for note in notes {
        print(&note);
    }
    Ok(all_well)
}

#[allow(clippy::print_stdout, reason = "this is what the command is for")]
fn print(line: &str) {
    println!("{line}");
}
