//! The oracle against literal expectations: the classic recipes and each sentence of the API that the property
//! tests lean on. The oracle itself is pinned here, without the translation.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

mod build;
mod isolation;
mod owners;
mod packets;
mod peers;
mod ports;
mod unready;
