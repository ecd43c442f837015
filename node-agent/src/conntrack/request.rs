//! What there is to look at, from whoever applies updates to whoever looks. Nobody waits, and it stays bounded.

use flock_proto::Forget;
use flock_shared::Revision;
use flock_shared::prefixes::Prefixes;
use tokio::sync::watch;

/// Which connections are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SweepRequest {
    /// What stands in the kernel.
    pub revision: Option<Revision>,
    /// Addresses that may have lost something by what was committed.
    pub lost: Prefixes,
    /// Whether others may have, of which nobody knows here: the compiler is to say which.
    pub is_unsettled: bool,
}

/// Collects what updates and repairs ask for.
#[derive(Debug)]
pub struct SweepRequests {
    requested: watch::Sender<SweepRequest>,
    /// What updates named that are not committed yet. It stays until one is: the next one builds on less.
    named: Option<Prefixes>,
}

impl SweepRequests {
    /// Nothing so far; what is requested is taken from the other end.
    #[must_use]
    pub fn new() -> (Self, watch::Sender<SweepRequest>) {
        let requested = watch::channel(SweepRequest::default()).0;
        (Self { requested: requested.clone(), named: None }, requested)
    }

    /// An update has come.
    pub fn named(&mut self, forget: Option<&Forget>) {
        if let Some(Forget::Lost(prefixes)) = forget {
            self.named.get_or_insert_default().extend(prefixes.iter().copied());
        }
    }

    /// What the last update asks for stands. A full script that names addresses names all that matter.
    pub fn committed(&mut self, revision: &Revision, is_full: bool) {
        let named = self.named.take();
        self.requested.send_modify(|requested| {
            requested.revision = Some(revision.clone());
            // With a full script the compiler names all that may have lost something, so it need not be asked.
            requested.is_unsettled &= !(is_full && named.is_some());
            requested.lost.extend(named.iter().flat_map(Prefixes::iter).copied());
        });
    }

    /// A state stands again, after nobody knows what.
    pub fn restored(&mut self, revision: &Revision) {
        self.requested.send_modify(|requested| {
            requested.revision = Some(revision.clone());
            requested.is_unsettled = true;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use flock_shared::ScriptHash;

    use super::*;

    fn revision(of: &str) -> Revision {
        Revision::of(ScriptHash::of(of.as_bytes()))
    }

    fn of(last: u8) -> Prefixes {
        [IpAddr::from([10, 0, 0, last])].into_iter().collect()
    }

    #[test]
    fn what_was_named_counts_once_something_is_committed() {
        let (mut sweeps, requested) = SweepRequests::new();
        sweeps.named(Some(&Forget::Lost(of(1))));
        assert_eq!(*requested.borrow(), SweepRequest::default());
        // The first was refused; what is committed then reaches further.
        sweeps.named(Some(&Forget::Lost(of(2))));
        sweeps.named(None);
        sweeps.committed(&revision("a"), false);
        let lost = of(1).iter().chain(of(2).iter()).copied().collect();
        let all = SweepRequest { revision: Some(revision("a")), lost, is_unsettled: false };
        assert_eq!(*requested.borrow(), all);
        sweeps.committed(&revision("b"), false);
        assert_eq!(*requested.borrow(), SweepRequest { revision: Some(revision("b")), ..all });
    }

    #[test]
    fn a_full_script_that_names_addresses_settles() {
        let (mut sweeps, requested) = SweepRequests::new();
        sweeps.restored(&revision("a"));
        assert!(requested.borrow().is_unsettled);
        sweeps.named(Some(&Forget::Lost(of(1))));
        sweeps.committed(&revision("b"), false);
        assert!(requested.borrow().is_unsettled);
        // An old compiler names none.
        sweeps.committed(&revision("c"), true);
        assert!(requested.borrow().is_unsettled);
        sweeps.named(Some(&Forget::Lost(Prefixes::default())));
        sweeps.committed(&revision("d"), true);
        assert!(!requested.borrow().is_unsettled);
    }
}
