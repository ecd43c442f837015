//! Interfaces: what enters from a pod's interface carries one of the pod's addresses.
//!
//! The check stands before connection tracking, so a forged packet neither passes as the reply of somebody else's
//! connection nor changes its state. What never leaves the link is exempt. Of pods on a bridge it sees the bridge alone; their
//! ports are checked there (`port.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use smallvec::smallvec;

use super::{Layout, when};
use crate::nft::{
    ChainName, Content, Element, Family, Field, Hook, Match, Objects, Rule, SetName, SetType, Statement,
    Verdict,
};
use crate::object::HostInterface;
use crate::output::NodeRules;

/// The chains that look at what enters the node from its pods, where their interfaces are known.
pub(crate) fn entering<O: Objects>(layout: &mut Layout<O>, node_rules: &NodeRules) {
    super::tunnel::tunnels(layout, node_rules);
    let rules = source_checks(layout, &node_rules.source_checks);
    if !rules.is_empty() {
        layout.add_chain(ChainName::Entering, Some(Hook::Entering), rules);
    }
    super::port::ports_of_pods(layout, node_rules);
}

/// The rules that check the interfaces of local pods, and their chains.
fn source_checks<O: Objects>(
    layout: &mut Layout<O>,
    source_checks: &BTreeMap<HostInterface, BTreeSet<IpAddr>>,
) -> Vec<Rule> {
    let (mut computed, mut claimed) = (BTreeSet::new(), BTreeSet::new());
    let mut pairs: BTreeMap<Family, BTreeSet<Element>> = BTreeMap::new();
    for (interface, addresses) in source_checks {
        match interface {
            HostInterface::Computed(name) => {
                computed.insert(Element::Interface(name.clone()));
                for address in addresses {
                    let pair = Element::SourceCheck(name.clone(), *address);
                    pairs.entry(Family::of(address)).or_default().insert(pair);
                }
            }
            HostInterface::Claimed(name) => {
                claimed.insert(Element::Interface(name.clone()));
            }
        }
    }
    let mut own = Vec::new();
    for (family, elements) in pairs {
        let name = SetName::SourceChecks(family);
        let fields = smallvec![Field::Inbound, Field::Source(family)];
        own.push(when([Match::In(fields, name.clone())], Verdict::Accept));
        layout.add_set(name, SetType::SourceChecks(family), Content::Elements(elements));
    }
    let mut base = Vec::new();
    // Computed names are the pods' own. A claim may lie, even name the node's uplink, so there only the node's
    // routes say whose a source is: a lie opens nothing and closes nothing for others.
    let checks = [
        (SetName::ComputedInterfaces, computed, own, Vec::new()),
        (SetName::ClaimedInterfaces, claimed, Vec::new(), vec![Match::NoRouteBack]),
    ];
    for (set, interfaces, mut rules, forged) in checks.into_iter().filter(|(_, names, ..)| !names.is_empty())
    {
        let chain = ChainName::SourceChecks(set.clone());
        base.push(when([Match::In(smallvec![Field::Inbound], set.clone())], Verdict::Goto(chain.clone())));
        let on_the_link = [Match::LinkLocal, Match::AddressDetection, Match::Unconfigured];
        rules.extend(on_the_link.map(|condition| when([condition], Verdict::Accept)));
        rules.push(Rule { matches: forged.into(), statement: Statement::Counted(Verdict::Drop) });
        layout.add_chain(chain, None, rules);
        layout.add_set(set, SetType::Interfaces, Content::Elements(interfaces));
    }
    base
}
