//! The agent against a compiler on a real port and an nft that is a shell script, as a future and as a process, and
//! against the kernel's nft in a network namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

mod additive;
mod attended;
mod authorities;
mod boot;
mod check;
mod cni;
mod cni_kept;
mod cni_links;
mod cni_socket;
mod connections;
mod disk;
mod drift;
mod dropped;
mod facts;
mod fake_nft;
mod health;
mod kernel;
mod kernel_deltas;
mod mutants;
mod process;
mod removing;
mod restoring;
mod saved;
mod stage;
mod steps;
mod stream;
mod survival;
mod unheard;
mod updates;
