//! Writes the manual pages of all programs into a folder: `cargo run --workspace --example manuals -- DIR`.
//!
//! An example, since it is linked to all of them and no test needs it. Prints the names of the pages.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use flockctl::Program;

fn main() -> anyhow::Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("usage: manuals DIR")?.into();
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let programs = [
        flock_compiler::cli::Cli::command(),
        flock_node_agent::cli::Options::command(),
        flockctl::command(Program::Flockctl),
        flockctl::command(Program::KubectlPlugin),
    ];
    // Pages are the same whenever they are made: a date would be the day of the build.
    for program in programs {
        clap_mangen::generate_to(program, &folder)?;
    }
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        pages.push(entry?.file_name().to_string_lossy().into_owned());
    }
    pages.sort();
    for page in &pages {
        let text = std::fs::read_to_string(folder.join(page))?;
        if !text.contains(".TH") || !text.contains("SYNOPSIS") {
            bail!("{page} is no manual page");
        }
    }
    println!("{}", pages.join("\n"));
    Ok(())
}
