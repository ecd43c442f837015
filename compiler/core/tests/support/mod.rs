//! What the tests of the core share: a cluster in the API's own shape, an evaluator of it that knows nothing of the
//! translation, random clusters and flows, and the way from that shape to the core's objects.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub(crate) mod cluster;
pub(crate) mod evaluator;
pub(crate) mod flow;
pub(crate) mod generator;
pub(crate) mod text;
pub(crate) mod to_core;
