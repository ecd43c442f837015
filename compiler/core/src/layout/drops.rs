//! Drops: what a direction denies is taken down before it is dropped ([`crate::nft::drops`]).
//!
//! The way of a packet whose flow is taken down already is short: one lookup, one update that counts, dropped. Any other
//! goes on to chains of its own, where the source is bounded and the packet shown. Packets that are accepted meet none of
//! this, and whatever becomes of the sets, each chain ends in a rule that drops.
//!
//! The port of a flow is looked for where TCP, UDP and SCTP have it. Other packets have something else there, so they are
//! hardly ever taken for known, and at worst one is counted for a flow of the same addresses and protocol.
//!
//! Taken down is what policies deny, and what goes to or from an address that nobody knows yet, which ends in the same
//! chain. What is dropped for its own sake is not: packets in mid-stream belong to connections whose beginning was judged
//! elsewhere, forged sources name somebody else, and tunnels and frames have no flow of pods. Their rules count.

use smallvec::smallvec;

use super::{Layout, when};
use crate::nft::drops::{FlowPort, Kept};
use crate::nft::{ChainName, Content, Family, Match, Objects, Rule, Statement, Verdict};
use crate::object::Direction;

/// The rules of a chain `denied` that stand before the one that drops, and what they lead to.
pub(super) fn rules<O: Objects>(layout: &mut Layout<O>, direction: Direction) -> Vec<Rule> {
    let families: Vec<Family> = layout.families().collect();
    let mut rules = Vec::with_capacity(2 * families.len());
    for family in families {
        let kept = |port| Kept { direction, family, port };
        let by_port = kept(FlowPort::Destination);
        sets(layout, by_port);
        let unkept = ChainName::Unkept(direction, family);
        rules.push(when([Match::NotKept(by_port)], Verdict::Goto(unkept.clone())));
        // A known flow takes no room in the set, so update and drop share a rule. Should it fail, those behind it
        // drop.
        rules.push(alone(Statement::KeepAndDrop(by_port)));
        let portless = ChainName::Portless(direction, family);
        // First those without ports: what they have in a port's place, such as a checksum, says nothing of a flow.
        let mut ports = vec![when([Match::Portless], Verdict::Goto(portless.clone()))];
        ports.extend([
            // The bound first: a source that scans is neither shown nor kept beyond it.
            counted_drop(smallvec![Match::OverBound(direction, family)]),
            alone(Statement::Show(direction)),
            // A full set ends the rule that adds to it, so the drop is a rule of its own.
            alone(Statement::Keep(by_port)),
            counted_drop(smallvec![]),
        ]);
        layout.add_chain(unkept, None, ports);
        let by_kind = kept(FlowPort::Kind);
        let others = vec![
            counted_drop(smallvec![Match::NotKept(by_kind), Match::OverBound(direction, family)]),
            // Before it is kept: a flow that is in the set is not shown again.
            Rule { matches: smallvec![Match::NotKept(by_kind)], statement: Statement::Show(direction) },
            alone(Statement::Keep(by_kind)),
            counted_drop(smallvec![]),
        ];
        layout.add_chain(portless, None, others);
    }
    rules
}

/// The sets of a direction and family.
fn sets<O: Objects>(layout: &mut Layout<O>, kept: Kept) {
    use crate::nft::SetName::DropSources;
    for name in [kept.set(), DropSources(kept.direction, kept.family)] {
        let kind = name.kind();
        layout.add_set(name, kind, Content::Elements(std::collections::BTreeSet::new()));
    }
}

fn alone(statement: Statement) -> Rule {
    Rule { matches: smallvec![], statement }
}

fn counted_drop(matches: smallvec::SmallVec<[Match; 1]>) -> Rule {
    Rule { matches, statement: Statement::Counted(Verdict::Drop) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use flock_shared::NodeName;

    use crate::layout::layout;
    use crate::nft::{ChainName, Match, Rule, Statement, Table, Verdict};
    use crate::output::{Drops, Families, NodeRules, Output};

    fn table(drops: Drops) -> Table {
        let families = Families { v4: true, v6: true };
        let rules = NodeRules { families, drops, ..NodeRules::default() };
        layout(&Output::new(NodeName::new("n1").unwrap(), Arc::new(rules), Vec::new()))
    }

    fn is_of_drops(rule: &Rule) -> bool {
        let asks = |it: &Match| matches!(it, Match::NotKept(_) | Match::OverBound(..));
        let takes_down =
            matches!(rule.statement, Statement::Keep(_) | Statement::KeepAndDrop(_) | Statement::Show(_));
        takes_down || rule.matches.iter().any(asks)
    }

    #[test]
    fn what_is_accepted_meets_none_of_these_rules_and_behind_them_everything_is_dropped() {
        let (with, without) = (table(Drops::Kept), table(Drops::Counted));
        let of_drops = |table: &Table| -> BTreeSet<ChainName> {
            let chains = table.chains.iter().filter(|(_, chain)| chain.rules.iter().any(is_of_drops));
            chains.map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(of_drops(&without), BTreeSet::new());
        assert_eq!(of_drops(&with).len(), 2 * (1 + 2 + 2));
        for name in of_drops(&with) {
            let rules = &with.chains[&name].rules;
            let last = rules.last().unwrap();
            assert_eq!(
                (last.matches.len(), &last.statement),
                (0, &Statement::Counted(Verdict::Drop)),
                "{name}"
            );
            // From the first of these rules on, nothing is accepted and nothing comes back.
            let behind = rules.iter().skip_while(|rule| !is_of_drops(rule));
            let passes = |rule: &Rule| {
                matches!(
                    rule.statement,
                    Statement::Verdict(Verdict::Accept | Verdict::Return | Verdict::Jump(_))
                )
            };
            assert!(!behind.into_iter().any(passes), "{name}");
        }
        // All other chains are what they are without.
        let others = |table: &Table| -> Vec<_> {
            let all = table.chains.clone().into_iter();
            all.filter(|(name, _)| !of_drops(&with).contains(name)).collect()
        };
        assert_eq!(others(&with), others(&without));
    }
}
