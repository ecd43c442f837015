//! The three programs as real processes: a compiler, agents that apply into the namespaces of a lab, flockctl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

mod admin;
mod api;
mod attach;
mod chaos;
mod closed;
mod compiler;
mod conntrack;
mod debug;
mod drops;
mod e2e;
mod edit;
mod ending;
mod expected;
mod facts;
mod flockctl;
mod fresh_cluster;
mod ground;
mod guard;
mod help;
mod kubectl;
mod kubernetes;
mod manifests;
mod merged;
mod mistakes;
mod monitoring;
mod refused;
mod replicas;
mod restart;
mod secured;
mod shop;
mod site;
mod skew;
mod support;
mod through_cluster;
mod two_nodes;
