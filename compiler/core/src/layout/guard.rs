//! PodCidrGuard pods: an address of the node's pod CIDRs that the dispatch does not know is isolated, and nothing allowed.
//!
//! The dispatch has a key for every known address of the blocks; one that is open passes there. So a single lookup
//! tells isolated, open and unknown apart. With a set of known addresses beside the dispatch there would be two, and a
//! packet that is on its way while a pod becomes known could hear "not isolated" of the older state and "known" of the
//! newer.
//!
//! Where the blocks are closed only while a pod is expected there, the rules stand all the same. In a direction in which
//! nobody is expected they ask one thing more: that nobody attends to the node ([`crate::nft::attended`]), for then nobody
//! could be told who is on its way. So a node that has lost its compiler or its agent, and one that boots with the rules that
//! it kept, is closed without anybody doing anything.
//!
//! The way out is that of what is denied: related errors and neighbour discovery pass as they do for every isolated
//! pod. A counter in front tells how much was sent there.

use smallvec::{SmallVec, smallvec};

use super::pod;
use crate::nft::{ChainName, Family, Match, Rule, Statement, Verdict};
use crate::object::Direction;
use crate::output::{Closing, PodCidrGuard};

/// Returns true if rules may ask whether somebody attends to the node. The set that they ask is there also while none does:
/// what is in it is the agent's business, and would be gone with it.
pub(super) fn asks_who_attends(guard: Option<&PodCidrGuard>) -> bool {
    guard.is_some_and(|guard| guard.closing != Closing::Always)
}

/// The rules of a base chain behind the dispatch: one for each block.
pub(super) fn rules(direction: Direction, guard: &PodCidrGuard) -> impl Iterator<Item = Rule> {
    guard.cidrs.iter().map(move |cidr| {
        let pod = pod(direction, Family::of(&cidr.first()));
        // In this order: hardly any packet is left then, and only that one has its route looked up.
        let mut matches: SmallVec<[Match; 1]> = smallvec![Match::Within(pod, *cidr)];
        matches.extend((!guard.closing.is_closed(direction)).then_some(Match::Unattended));
        matches.push(Match::NotLocal(pod));
        Rule { matches, statement: Statement::Counted(Verdict::Goto(ChainName::Denied(direction))) }
    })
}
