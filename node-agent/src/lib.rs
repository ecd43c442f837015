//! The node agent: subscribes to the compiler, verifies each script's hash, runs `nft -f -`, acknowledges.
//!
//! It knows nothing of what a script means. [`apply`] decides, purely; [`enforce`] carries out and repeats, a script of
//! several steps as [`series`] says; [`trial`] asks nft what it takes at all;
//! [`journal`] knows what led to the state that stands; [`lookout`] and [`ledger`] know who else changed it;
//! [`attendance`] tells a table that asks that a compiler attends to the node; [`facts`] looks at the node for the compiler; [`conntrack`] cuts connections that were revoked;
//! [`cni`] relays calls of the CNI plugin. [`run`] joins it with the stream ([`session`],
//! `flock_shared::dial`) and the journal on disk ([`state`]). [`install`] is another program: it keeps the CNI plugin on the
//! node.

pub mod apply;
pub mod attendance;
pub mod child;
pub mod cli;
pub mod cni;
pub mod conntrack;
pub mod drift;
pub mod enforce;
pub mod facts;
pub mod fuzzing;
pub mod guard;
pub mod handover;
pub mod install;
pub mod journal;
pub mod ledger;
pub mod lookout;
pub mod nft;
pub mod notice;
mod record;
pub mod run;
pub mod runner;
pub mod sentinel;
pub mod series;
pub mod session;
pub mod state;
pub mod trial;
