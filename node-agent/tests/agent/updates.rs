//! Updates that a test's compiler sends.

use flock_proto::{Update, UpdateKind, v1};
use flock_shared::{Revision, Script, ScriptHash};

pub(crate) fn revision(name: &str) -> Revision {
    Revision::of(ScriptHash::of(name.as_bytes()))
}

/// A script that leaves the marker of the state `name`, as real ones do.
pub(crate) fn script(name: &str) -> Script {
    let table = "table inet flock_netpol";
    let marker = format!("add set inet flock_netpol rev_{} {{ typeof ip saddr; }}\n", revision(name));
    Script::new(format!("add {table}\ndelete {table}\n{table} {{\n}}\n{marker}"))
}

/// The same, with so many bytes more that change nothing.
pub(crate) fn large(name: &str, bytes: usize) -> Script {
    let filling = "add table inet flock_netpol\n";
    let script = script(name);
    Script::new([script.bytes(), filling.repeat(bytes / filling.len()).as_bytes()].concat())
}

pub(crate) fn full(name: &str) -> v1::Update {
    Update::new(revision(name), UpdateKind::Full(script(name))).into()
}

pub(crate) fn delta(base: &str, name: &str) -> v1::Update {
    let kind = UpdateKind::Delta { base: revision(base), script: script(name) };
    Update::new(revision(name), kind).into()
}

/// The same update, of a state at a position.
pub(crate) fn at(position: &str, update: v1::Update) -> v1::Update {
    v1::Update { position: position.to_owned().into(), ..update }
}
