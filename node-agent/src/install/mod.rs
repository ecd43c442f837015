//! Installs the CNI plugin on the node, keeps it there, and takes it out again.
//!
//! ```text
//! folder of configurations ─ select: which list the runtime takes ─▶ edit: the list with the plugin ─▶ atomic write
//!            ▲                                                                                             │
//!            └──────────────── keep: five looks a second, fewer where somebody else keeps at it ◀──────────┘
//! ```
//!
//! [`entry`], [`list`] and [`select`] are pure: texts in, texts out. [`patience`] knows when somebody else wants the file
//! otherwise. [`folder`] and [`binary`] read and write; [`keep`] joins them.
//!
//! [`boot`] is another matter: what restores the ruleset before pods start, in the manner of a package.
//!
//! What may never happen is that a node cannot start pods because of the plugin: the configuration names it only while its
//! binary is in place, and what is not understood is left alone.

pub mod binary;
pub mod boot;
pub mod entry;
pub mod file;
pub mod folder;
pub mod keep;
pub mod list;
pub mod options;
pub mod patience;
pub mod select;

pub use options::{BIN_DIR, CONF_DIR, Command, Install, Uninstall};
