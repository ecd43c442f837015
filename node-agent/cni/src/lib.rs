#![doc = include_str!("../README.md")]

pub mod ask;
pub mod attachment;
pub mod config;
pub mod environment;
pub mod failure;
pub mod journal;
pub mod links;
pub mod plan;
pub mod pod;

pub use failure::Failure;
pub use plan::{Outcome, Plan, Question, Reply};
