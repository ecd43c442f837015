#![doc = include_str!("../README.md")]

pub mod attendance;
pub mod authorities;
pub mod check;
pub mod child;
pub mod cli;
pub mod cni;
pub mod conntrack;
pub mod decide;
pub mod drift;
pub mod drops;
pub mod event;
pub mod executor;
pub mod facts;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod generations;
pub mod guard;
pub mod handover;
pub mod health;
pub mod install;
pub mod journal;
pub mod monitor;
pub mod nft;
mod record;
pub mod restore;
pub mod run;
pub mod runner;
pub mod series;
pub mod session;
pub mod state;
pub mod supervisor;
pub mod trial;
