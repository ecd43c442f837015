//! For how long pods on their way close their node, and how much waiting in vain their namespaces may have.
//!
//! A node that is closed for the sake of one pod is closed to all that nobody knows there yet. So nobody is waited for longer
//! than [`LONGEST`], counted from when the pod was bound, or from when this replica saw it first if that is earlier or cannot be
//! told (clocks differ). And a tenant whose images never come, or who makes such pods and deletes them, has so much a node:
//! what its pods were waited for in vain is charged to the two, and wears off. Beyond [`MOST`] its pods close that node no
//! more, until half of that has worn off. Charged is only what closed the node, as this replica has seen it: one that has
//! just started knows of no debts.
//!
//! Pure: the time is told, and what is decided are changes of the world.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use flock_compiler_core::object::{Overdue, Pod, PodNetwork, PodUid, UnixTime};
use flock_compiler_core::{Change, Edit};
use flock_shared::{NamespaceName, NodeName, PodKey};
use tokio::time::Instant;

/// For so long a pod is waited for.
const LONGEST: Duration = Duration::from_secs(60);
/// So much waiting in vain a namespace may have on a node …
const MOST: Duration = Duration::from_secs(180);
/// … within so much time: this is how long it takes to wear off.
const WINDOW: Duration = Duration::from_secs(600);
/// What is charged beyond this is not kept, so that no debt lasts longer than 15 minutes.
const DEEPEST: Duration = Duration::from_secs(360);
/// What is left of a debt when its namespace is waited for again.
const FORGIVEN: Duration = Duration::from_secs(90);
/// So many pairs of node and namespace have accounts. Those that find no room are waited for as if they had wasted nothing.
const ACCOUNTS: usize = 32_768;

/// The present, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// By the clock that nobody sets.
    pub(super) instant: Instant,
    /// By the clock that the API server's times are compared with.
    pub(super) wall: Option<UnixTime>,
}

/// The pods that are waited for, and what that has cost.
#[derive(Debug, Default)]
pub(super) struct PodWaits {
    pods: HashMap<PodKey, Wait>,
    accounts: HashMap<Account, Debt>,
    /// When something ends, in order.
    due: BTreeSet<(Instant, Expiry)>,
}

/// A pod on its way.
#[derive(Debug)]
struct Wait {
    uid: Option<PodUid>,
    account: Account,
    /// When it was seen first.
    since: Instant,
    /// When it is overdue; `None`: it is.
    until: Option<Instant>,
}

/// A namespace on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Account {
    node: NodeName,
    namespace: NamespaceName,
}

/// Waiting in vain, as of some time.
#[derive(Debug, Clone, Copy)]
struct Debt {
    amount: Duration,
    at: Instant,
    /// True if its pods are not waited for.
    is_over: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Expiry {
    Pod(PodKey),
    Account(Account),
}

impl Debt {
    /// What is left of it.
    fn left(&self, now: Instant) -> Duration {
        // As much wears off in a window as may be wasted in one.
        let passed = now.saturating_duration_since(self.at);
        self.amount.saturating_sub(passed.mul_f64(MOST.as_secs_f64() / WINDOW.as_secs_f64()))
    }

    /// When its namespace is waited for again.
    fn forgiven_at(&self) -> Instant {
        let much = self.amount.saturating_sub(FORGIVEN);
        self.at + much.mul_f64(WINDOW.as_secs_f64() / MOST.as_secs_f64())
    }
}

impl Account {
    fn overdue(&self) -> Overdue {
        Overdue::Namespace(self.node.clone(), self.namespace.clone())
    }
}

fn begins(overdue: Overdue) -> Change {
    Change::Overdue(Edit::Upsert(overdue))
}

fn ends(overdue: Overdue) -> Change {
    Change::Overdue(Edit::Delete(overdue))
}

impl PodWaits {
    /// Takes notice of a change before the world does; who is overdue, or no longer, by that. `expects` says for which pods a
    /// node is closed so far.
    pub(super) fn observe(
        &mut self,
        change: &Change,
        now: Clocks,
        expects: impl Fn(&PodKey) -> bool,
    ) -> Vec<Change> {
        let mut decided = Vec::new();
        match change {
            Change::Pod(Edit::Upsert(pod)) => self.see(pod, now, &expects, &mut decided),
            Change::Pod(Edit::Delete(key)) => {
                self.end(key, expects(key).then_some(now.instant), &mut decided);
            }
            Change::Pod(Edit::Replace(pods)) => {
                // A listing deletes what it does not name.
                if !self.pods.is_empty() {
                    let listed: HashSet<&PodKey> = pods.iter().map(|pod| &pod.key).collect();
                    let gone: Vec<PodKey> =
                        self.pods.keys().filter(|key| !listed.contains(key)).cloned().collect();
                    for key in gone {
                        self.end(&key, expects(&key).then_some(now.instant), &mut decided);
                    }
                }
                pods.iter().for_each(|pod| self.see(pod, now, &expects, &mut decided));
            }
            _ => {}
        }
        decided
    }

    /// When something is to be decided without a change.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Decides what is due.
    pub(super) fn expire(&mut self, now: Instant, expects: impl Fn(&PodKey) -> bool) -> Vec<Change> {
        let mut decided = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, due)) = self.due.pop_first()
        {
            match due {
                Expiry::Pod(key) => {
                    let Some(wait) = self.pods.get_mut(&key) else { continue };
                    // Kept although it is overdue: the pod may be bound or deleted yet, which ends that.
                    wait.until = None;
                    let (account, waited) = (wait.account.clone(), now.saturating_duration_since(wait.since));
                    if expects(&key) {
                        self.charge(&account, waited, now, &mut decided);
                    }
                    decided.push(begins(Overdue::Pod(key)));
                }
                Expiry::Account(account) => {
                    if let Some(debt) = self.accounts.get_mut(&account) {
                        *debt = Debt { amount: debt.left(now), at: now, is_over: false };
                    }
                    decided.push(ends(account.overdue()));
                }
            }
        }
        decided
    }

    fn see(&mut self, pod: &Pod, now: Clocks, expects: &impl Fn(&PodKey) -> bool, decided: &mut Vec<Change>) {
        let node = pod.node.as_ref().filter(|_| pod.is_on_its_way());
        // By UID and node: a StatefulSet's next pod has the same name, and is waited for anew.
        let known = self.pods.get(&pod.key);
        let is_same = |wait: &Wait| wait.uid == pod.uid && Some(&wait.account.node) == node;
        if known.is_some_and(is_same) {
            return;
        }
        if known.is_some() {
            // One that has finished may show its address for the first time, too.
            let has_come = matches!(&pod.network, PodNetwork::Own { addresses, .. } if !addresses.is_empty());
            let in_vain = !has_come && expects(&pod.key);
            self.end(&pod.key, in_vain.then_some(now.instant), decided);
        }
        let Some(node) = node.cloned() else { return };
        // From when it was bound, so that a replica that has just started does not wait for every pod anew.
        let waited = pod.scheduled.zip(now.wall).map_or(Duration::ZERO, |(then, now)| now.since(then));
        let left = LONGEST.saturating_sub(waited);
        let until = (!left.is_zero()).then(|| now.instant + left);
        match until {
            Some(until) => _ = self.due.insert((until, Expiry::Pod(pod.key.clone()))),
            None => decided.push(begins(Overdue::Pod(pod.key.clone()))),
        }
        let account = Account { node, namespace: pod.key.namespace.clone() };
        let wait = Wait { uid: pod.uid.clone(), account, since: now.instant, until };
        self.pods.insert(pod.key.clone(), wait);
    }

    /// A pod is not on its way any more. It was waited for in vain until `in_vain`, if it was.
    fn end(&mut self, key: &PodKey, in_vain: Option<Instant>, decided: &mut Vec<Change>) {
        let Some(Wait { account, since, until, .. }) = self.pods.remove(key) else { return };
        match until {
            Some(until) => _ = self.due.remove(&(until, Expiry::Pod(key.clone()))),
            None => decided.push(ends(Overdue::Pod(key.clone()))),
        }
        if let Some(now) = in_vain {
            self.charge(&account, now.saturating_duration_since(since), now, decided);
        }
    }

    fn charge(&mut self, account: &Account, waited: Duration, now: Instant, decided: &mut Vec<Change>) {
        // Debts that have worn off make room; where there is none, it is forgone rather than let memory grow.
        if self.accounts.len() >= ACCOUNTS && !self.accounts.contains_key(account) {
            self.accounts.retain(|_, debt| !debt.left(now).is_zero());
            if self.accounts.len() >= ACCOUNTS {
                return;
            }
        }
        let debt = self.accounts.entry(account.clone()).or_insert(Debt {
            amount: Duration::ZERO,
            at: now,
            is_over: false,
        });
        // Its pods close nothing any more, so nothing more is wasted.
        if debt.is_over {
            return;
        }
        *debt = Debt { amount: (debt.left(now) + waited).min(DEEPEST), at: now, is_over: false };
        if debt.amount > MOST {
            debt.is_over = true;
            self.due.insert((debt.forgiven_at(), Expiry::Account(account.clone())));
            decided.push(begins(account.overdue()));
        }
    }
}

#[cfg(test)]
#[path = "pod_waits_tests.rs"]
mod tests;
