//! What there is to look at, from whoever applies updates to whoever looks. Nobody waits, and it stays bounded.

use flock_proto::Forget;
use flock_shared::Revision;
use flock_shared::prefixes::Prefixes;
use tokio::sync::watch;

/// What there is to look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What stands in the kernel.
    pub revision: Option<Revision>,
    /// Addresses that may have lost something by what was committed.
    pub lost: Prefixes,
    /// Whether others may have, of which nobody knows here: the compiler is to say which.
    pub is_unsettled: bool,
}

/// Takes down what updates and repairs ask for.
#[derive(Debug)]
pub struct Wishes {
    wanted: watch::Sender<Wanted>,
    /// What updates named that are not committed yet. It stays until one is: the next one builds on less.
    named: Option<Prefixes>,
}

impl Wishes {
    /// Nothing so far; what is wanted is taken from the other end.
    #[must_use]
    pub fn new() -> (Self, watch::Sender<Wanted>) {
        let wanted = watch::channel(Wanted::default()).0;
        (Self { wanted: wanted.clone(), named: None }, wanted)
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
        self.wanted.send_modify(|wanted| {
            wanted.revision = Some(revision.clone());
            wanted.is_unsettled &= !(is_full && named.is_some());
            wanted.lost.extend(named.iter().flat_map(Prefixes::iter).copied());
        });
    }

    /// A state stands again, after nobody knows what.
    pub fn restored(&mut self, revision: &Revision) {
        self.wanted.send_modify(|wanted| {
            wanted.revision = Some(revision.clone());
            wanted.is_unsettled = true;
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
        let (mut wishes, wanted) = Wishes::new();
        wishes.named(Some(&Forget::Lost(of(1))));
        assert_eq!(*wanted.borrow(), Wanted::default());
        // The first was refused; what is committed then reaches further.
        wishes.named(Some(&Forget::Lost(of(2))));
        wishes.named(None);
        wishes.committed(&revision("a"), false);
        let lost = of(1).iter().chain(of(2).iter()).copied().collect();
        let all = Wanted { revision: Some(revision("a")), lost, is_unsettled: false };
        assert_eq!(*wanted.borrow(), all);
        wishes.committed(&revision("b"), false);
        assert_eq!(*wanted.borrow(), Wanted { revision: Some(revision("b")), ..all });
    }

    #[test]
    fn a_full_script_that_names_addresses_settles() {
        let (mut wishes, wanted) = Wishes::new();
        wishes.restored(&revision("a"));
        assert!(wanted.borrow().is_unsettled);
        wishes.named(Some(&Forget::Lost(of(1))));
        wishes.committed(&revision("b"), false);
        assert!(wanted.borrow().is_unsettled);
        // An old compiler names none.
        wishes.committed(&revision("c"), true);
        assert!(wanted.borrow().is_unsettled);
        wishes.named(Some(&Forget::Lost(Prefixes::default())));
        wishes.committed(&revision("d"), true);
        assert!(!wanted.borrow().is_unsettled);
    }
}
