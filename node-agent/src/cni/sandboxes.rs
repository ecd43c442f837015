//! Which sandboxes the node has, as CNI's plugin said, and what the compiler has yet to be told of them. Pure.
//!
//! ```text
//! ADD ─▶ entry, owed ──Attach──▶ entry ─── DEL, GC, link gone, address given anew ───▶ gone, owed ──Detach──▶ nothing
//!            └── refused ──▶ nothing
//! ```
//!
//! Calls for one sandbox may be under way together, and in whichever order the compiler takes them, the last word is that
//! of this record: a call that ends when it says something else already is followed by another one, which is owed then.

use std::collections::{BTreeSet, VecDeque};

use flock_proto::SANDBOXES_LIMIT;
use flock_shared::cni::{NetworkName, Sandbox, SandboxId};
use serde::{Deserialize, Serialize};

/// Sandboxes that are gone, and of which the compiler does not know that yet. Of more, the oldest are forgotten: their
/// pods' ends, or the next pods with their addresses, make that good.
pub const GONE_LIMIT: usize = 1024;

/// Which of the calls for a sandbox it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(u64);

/// Something that the compiler is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PendingCall {
    /// There is this sandbox.
    Attach(Sandbox, Number),
    /// There is none of this id any more.
    Detach(SandboxId, Number),
}

/// Whether a sandbox is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It has.
    Kept,
    /// It is full.
    NoRoom,
}

/// What became of telling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// The compiler has it.
    Done,
    /// The compiler says that it cannot be.
    Refused,
    /// Nobody knows whether the compiler has it.
    Failed,
}

/// What is written to disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSandboxes {
    /// The sandboxes, the oldest first.
    #[serde(default)]
    pub sandboxes: Vec<KeptSandbox>,
    /// Those that are gone, the oldest first.
    #[serde(default)]
    pub gone: Vec<SandboxId>,
}

/// What is kept of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSandbox {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// The network that it is of; `None`: an earlier agent kept it, or the network has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkName>,
    /// Whether the compiler may not know of it.
    pub owed: bool,
}

/// The sandboxes of a node.
#[derive(Debug, Default)]
pub struct Sandboxes {
    /// In the order of their calls.
    entries: Vec<SandboxEntry>,
    /// In the order of their ends.
    gone: VecDeque<Gone>,
    last: u64,
    /// Whether links of sandboxes were seen where it is looked for them.
    is_right_place: bool,
}

#[derive(Debug)]
struct SandboxEntry {
    sandbox: Sandbox,
    network: Option<NetworkName>,
    number: Number,
    is_owed: bool,
    /// Whether another call for it has ended while its own is under way: the compiler may take that one last.
    is_doubtful: bool,
    /// Whether its link was not there at the last look.
    is_missed: bool,
    telling: Telling,
}

#[derive(Debug)]
struct Gone {
    id: SandboxId,
    number: Number,
    telling: Telling,
}

/// How it goes with telling the compiler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Telling {
    /// Calls that are under way.
    calls: u32,
    /// Calls that failed.
    failed: u32,
}

impl SandboxEntry {
    /// Has it told once more, after the call that is under way.
    const fn doubt(&mut self) {
        self.is_owed = true;
        self.is_doubtful = self.telling.calls > 0;
    }
}

impl Sandboxes {
    /// What an earlier agent kept, of the same start of the node. Of one before it, nothing but that it is gone: no
    /// sandbox outlives the kernel that it is in.
    #[must_use]
    pub fn of(kept: KeptSandboxes, same_boot: bool) -> Self {
        let mut sandboxes = Self::default();
        // Before those of an earlier boot: these have ended earlier, and the oldest are forgotten first.
        for id in kept.gone {
            sandboxes.bury(id);
        }
        for KeptSandbox { sandbox, network, owed } in kept.sandboxes.into_iter().take(SANDBOXES_LIMIT) {
            if same_boot {
                let number = sandboxes.number();
                let telling = Telling::default();
                sandboxes.entries.push(SandboxEntry {
                    sandbox,
                    network,
                    number,
                    is_owed: owed,
                    is_doubtful: false,
                    is_missed: false,
                    telling,
                });
            } else {
                sandboxes.bury(sandbox.id);
            }
        }
        sandboxes
    }

    /// What is to be kept.
    #[must_use]
    pub fn kept(&self) -> KeptSandboxes {
        let kept = |entry: &SandboxEntry| KeptSandbox {
            sandbox: entry.sandbox.clone(),
            network: entry.network.clone(),
            owed: entry.is_owed,
        };
        KeptSandboxes {
            sandboxes: self.entries.iter().map(kept).collect(),
            gone: self.gone.iter().map(|gone| gone.id.clone()).collect(),
        }
    }

    /// How many sandboxes there are, and how many that are gone and owed.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.gone.len())
    }

    /// CNI ADD of a network; it is to be told now, and settled if it is kept, which it is not where there is no room.
    pub fn add(&mut self, sandbox: Sandbox, network: Option<NetworkName>) -> (PendingCall, Keeping) {
        self.entries.retain(|entry| entry.sandbox.id != sandbox.id);
        self.gone.retain(|gone| gone.id != sandbox.id);
        let number = self.number();
        let pending = PendingCall::Attach(sandbox.clone(), number);
        if self.entries.len() >= SANDBOXES_LIMIT {
            // Told all the same: whether it is kept must not decide whether it is enforced.
            return (pending, Keeping::NoRoom);
        }
        let telling = Telling { calls: 1, failed: 0 };
        self.entries.push(SandboxEntry {
            sandbox,
            network,
            number,
            is_owed: true,
            is_doubtful: false,
            is_missed: false,
            telling,
        });
        (pending, Keeping::Kept)
    }

    /// CNI DEL, of whatever sandbox; it is to be told now, and settled.
    pub fn delete(&mut self, id: &SandboxId) -> PendingCall {
        self.entries.retain(|entry| entry.sandbox.id != *id);
        self.gone.retain(|gone| gone.id != *id);
        let number = self.bury(id.clone());
        if let Some(gone) = self.gone.back_mut() {
            gone.telling.calls = 1;
        }
        PendingCall::Detach(id.clone(), number)
    }

    /// CNI GC: all sandboxes of a network but these are gone; which ones. Those that are just being added are none of them.
    /// The list is of one network: of the sandboxes of others, and of those whose network is not known, it says nothing.
    pub fn keep_only(&mut self, network: &NetworkName, ids: &[SandboxId]) -> Vec<SandboxId> {
        let ids: BTreeSet<&SandboxId> = ids.iter().collect();
        let is_named = |entry: &SandboxEntry| entry.network.as_ref() == Some(network);
        self.end(|entry| is_named(entry) && entry.telling.calls == 0 && !ids.contains(&entry.sandbox.id))
    }

    /// What was found out about telling something.
    pub fn settle(&mut self, pending: &PendingCall, result: CallResult) {
        match pending {
            PendingCall::Attach(sandbox, number) => self.settle_attach(sandbox, *number, result),
            PendingCall::Detach(id, number) => self.settle_detach(id, *number, result),
        }
    }

    fn settle_attach(&mut self, sandbox: &Sandbox, number: Number, result: CallResult) {
        let Some(place) = self.entries.iter().position(|entry| entry.sandbox.id == sandbox.id) else {
            // It was deleted meanwhile, and the compiler may have heard of that first.
            if result != CallResult::Refused {
                self.gone.retain(|gone| gone.id != sandbox.id);
                self.bury(sandbox.id.clone());
            }
            return;
        };
        let Some(entry) = self.entries.get_mut(place) else { return };
        if entry.number != number {
            // It was added anew meanwhile, and the compiler may have heard of that first.
            if result != CallResult::Refused {
                entry.doubt();
            }
            return;
        }
        entry.telling.calls = entry.telling.calls.saturating_sub(1);
        match result {
            CallResult::Failed => entry.telling.failed += 1,
            // It is not told again, though a compiler whose world lags behind may have refused it.
            CallResult::Refused => drop(self.entries.remove(place)),
            CallResult::Done => {
                entry.is_owed = std::mem::take(&mut entry.is_doubtful);
                entry.telling.failed = 0;
                // Whoever had an address before is gone, and nobody said so.
                self.end(|other| other.number < number && share(&other.sandbox, sandbox));
            }
        }
    }

    fn settle_detach(&mut self, id: &SandboxId, number: Number, result: CallResult) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.sandbox.id == *id) {
            // It was added meanwhile, and the compiler may have heard of that first.
            entry.doubt();
        }
        let Some(place) = self.gone.iter().position(|gone| gone.id == *id && gone.number == number) else {
            return;
        };
        if result != CallResult::Failed {
            self.gone.remove(place);
        } else if let Some(gone) = self.gone.get_mut(place) {
            gone.telling.calls = gone.telling.calls.saturating_sub(1);
            gone.telling.failed += 1;
        }
    }

    /// What the compiler is to be told next and nobody is telling it, at most so much; it is to be settled.
    pub fn pending(&mut self, limit: usize) -> Vec<PendingCall> {
        let is_idle = |telling: &Telling| telling.calls == 0;
        let gone = self
            .gone
            .iter_mut()
            .filter(|gone| is_idle(&gone.telling))
            .map(|gone| (PendingCall::Detach(gone.id.clone(), gone.number), &mut gone.telling));
        let entries = self
            .entries
            .iter_mut()
            .filter(|entry| entry.is_owed && is_idle(&entry.telling))
            .map(|entry| (PendingCall::Attach(entry.sandbox.clone(), entry.number), &mut entry.telling));
        let mut pending: Vec<(PendingCall, &mut Telling)> = gone.chain(entries).collect();
        // What has failed makes room for what was not tried yet.
        pending.sort_by_key(|(_, telling)| telling.failed);
        pending.truncate(limit);
        pending
            .into_iter()
            .map(|(pending, telling)| {
                telling.calls += 1;
                pending
            })
            .collect()
    }

    /// Returns true if the compiler is to be told of something that nobody is telling it.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.gone.iter().any(|gone| gone.telling.calls == 0)
            || self.entries.iter().any(|entry| entry.is_owed && entry.telling.calls == 0)
    }

    /// Returns true if that includes something which was never tried.
    #[must_use]
    pub fn has_untried(&self) -> bool {
        let is_fresh = |telling: &Telling| *telling == Telling::default();
        self.gone.iter().any(|gone| is_fresh(&gone.telling))
            || self.entries.iter().any(|entry| entry.is_owed && is_fresh(&entry.telling))
    }

    /// Returns true if the compiler is yet to be told that one of these is gone.
    #[must_use]
    pub fn has_pending_detach(&self, ids: &[SandboxId]) -> bool {
        self.gone.iter().any(|gone| ids.contains(&gone.id))
    }

    /// The sandboxes that there are; of those that share an address, only the newest.
    #[must_use]
    pub fn present(&self) -> Vec<Sandbox> {
        let is_newest = |place: usize, entry: &SandboxEntry| {
            let later = self.entries.get(place + 1..).unwrap_or_default();
            !later.iter().any(|other| share(&other.sandbox, &entry.sandbox))
        };
        let present = self.entries.iter().enumerate().filter(|(place, entry)| is_newest(*place, entry));
        present.map(|(_, entry)| entry.sandbox.clone()).collect()
    }

    /// Returns true if some sandbox has a link that can be looked for.
    #[must_use]
    pub fn has_links(&self) -> bool {
        self.entries.iter().any(|entry| entry.sandbox.interface.is_some())
    }

    /// Compares links with the devices that there are; which sandboxes are gone, because their links were missed twice
    /// in a row. That is believed only once links of sandboxes were seen there: else it is looked in another place.
    pub fn look(&mut self, devices: &BTreeSet<String>) -> Vec<SandboxId> {
        let is_there =
            |entry: &SandboxEntry| entry.sandbox.interface.as_ref().is_none_or(|name| devices.contains(name));
        self.is_right_place |=
            self.entries.iter().any(|entry| entry.sandbox.interface.is_some() && is_there(entry));
        let mut lost = BTreeSet::new();
        for entry in &mut self.entries {
            if is_there(entry) {
                entry.is_missed = false;
            } else if self.is_right_place
                // CNI may be at it.
                && entry.telling.calls == 0
                && std::mem::replace(&mut entry.is_missed, true)
            {
                lost.insert(entry.number);
            }
        }
        self.end(|entry| lost.contains(&entry.number))
    }

    /// Takes out sandboxes that are gone without a call; which ones.
    fn end(&mut self, is_gone: impl Fn(&SandboxEntry) -> bool) -> Vec<SandboxId> {
        let ended: Vec<SandboxId> =
            self.entries.extract_if(.., |entry| is_gone(entry)).map(|entry| entry.sandbox.id).collect();
        for id in &ended {
            self.bury(id.clone());
        }
        ended
    }

    fn bury(&mut self, id: SandboxId) -> Number {
        if self.gone.len() >= GONE_LIMIT {
            self.gone.pop_front();
        }
        let number = self.number();
        self.gone.push_back(Gone { id, number, telling: Telling::default() });
        number
    }

    const fn number(&mut self) -> Number {
        self.last += 1;
        Number(self.last)
    }
}

fn share(one: &Sandbox, other: &Sandbox) -> bool {
    one.addresses.iter().any(|address| other.addresses.contains(address))
}

#[cfg(test)]
#[path = "sandboxes_tests.rs"]
mod tests;
