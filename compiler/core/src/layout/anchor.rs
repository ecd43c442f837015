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
use crate::output::Frame;

impl<O: Objects> Layout<O> {
    /// The chains that look at what enters the node from its pods, where their interfaces are known.
    pub(crate) fn entering(&mut self, frame: &Frame) {
        self.tunnels(frame);
        let rules = self.anchors(&frame.anchors);
        if !rules.is_empty() {
            self.add_chain(ChainName::Anchor, Some(Hook::Entering), rules);
        }
        self.ports_of_pods(frame);
    }

    /// The rules that check the interfaces of local pods, and their chains.
    fn anchors(&mut self, anchors: &BTreeMap<HostInterface, BTreeSet<IpAddr>>) -> Vec<Rule> {
        let (mut computed, mut claimed) = (BTreeSet::new(), BTreeSet::new());
        let mut pairs: BTreeMap<Family, BTreeSet<Element>> = BTreeMap::new();
        for (interface, addresses) in anchors {
            match interface {
                HostInterface::Computed(name) => {
                    computed.insert(Element::Interface(name.clone()));
                    for address in addresses {
                        let pair = Element::Anchor(name.clone(), *address);
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
            let name = SetName::Anchors(family);
            let fields = smallvec![Field::Inbound, Field::Source(family)];
            own.push(when([Match::In(fields, name.clone())], Verdict::Accept));
            self.add_set(name, SetType::Anchors(family), Content::Elements(elements));
        }
        let mut base = Vec::new();
        // Computed names are the pods' own. A claim may lie, even name the node's uplink, so there only the node's
        // routes say whose a source is: a lie opens nothing and closes nothing for others.
        let checks = [
            (SetName::ComputedInterfaces, computed, own, Vec::new()),
            (SetName::ClaimedInterfaces, claimed, Vec::new(), vec![Match::NoRouteBack]),
        ];
        for (set, interfaces, mut rules, forged) in
            checks.into_iter().filter(|(_, names, ..)| !names.is_empty())
        {
            let chain = ChainName::Anchored(set.clone());
            base.push(when(
                [Match::In(smallvec![Field::Inbound], set.clone())],
                Verdict::Goto(chain.clone()),
            ));
            let on_the_link = [Match::LinkLocal, Match::AddressDetection, Match::Unconfigured];
            rules.extend(on_the_link.map(|condition| when([condition], Verdict::Accept)));
            rules.push(Rule { matches: forged.into(), statement: Statement::Counted(Verdict::Drop) });
            self.add_chain(chain, None, rules);
            self.add_set(set, SetType::Interfaces, Content::Elements(interfaces));
        }
        base
    }
}
