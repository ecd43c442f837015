//! Each code has a manifest in `lint/` with objects that raise it and others close by that do not: lines `# expect:` are
//! all findings of this code.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may panic as tests do")]

#[path = "lint/asked.rs"]
mod asked;
#[path = "lint/cases.rs"]
mod cases;
#[path = "lint/cluster.rs"]
mod cluster;
#[path = "lint/hostile.rs"]
mod hostile;
#[path = "lint/rollout.rs"]
mod rollout;
#[path = "lint/shapes.rs"]
mod shapes;
