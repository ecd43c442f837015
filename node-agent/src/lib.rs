//! The node agent: subscribes to the compiler, verifies each script's hash, runs `nft -f -`, acknowledges.
//!
//! It knows nothing of what a script means. [`apply`] decides, purely; [`enforce`] carries out and repeats;
//! [`run`] joins it with the stream ([`session`], `flock_shared::dial`) and the ruleset on disk ([`state`]).

pub mod apply;
pub mod child;
pub mod cli;
pub mod enforce;
pub mod nft;
pub mod run;
pub mod session;
pub mod state;
