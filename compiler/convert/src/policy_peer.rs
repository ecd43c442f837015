//! `NetworkPolicyPeer`: pods by label, or a block of addresses.

use std::sync::Arc;

use flock_compiler_core::Selector;
use flock_compiler_core::object::{IpBlock, NamespaceScope, Peer, PeerMatch, PodPeer};
use flock_shared::NamespaceName;

use super::address;
use super::field::{Faults, Field};
use super::selector::selector;

/// The peers of a rule of a policy in `namespace`; absent or empty: anyone.
pub(super) fn peers(
    rule: &Field<'_>,
    key: &str,
    namespace: Option<&NamespaceName>,
    faults: &mut Faults,
) -> PeerMatch {
    let Some(listed) = rule.get(key) else { return PeerMatch::Any };
    let items = listed.items(faults);
    // What is no list comes here too, and is a fault by now: the rules are not used.
    if items.len() == 0 {
        return PeerMatch::Any;
    }
    let mut peers = Vec::with_capacity(items.len());
    for item in items {
        peers.extend(peer(&item, namespace, faults));
    }
    PeerMatch::OneOf(peers)
}

fn peer(item: &Field<'_>, namespace: Option<&NamespaceName>, faults: &mut Faults) -> Option<Peer> {
    let before = faults.count();
    item.only(&["podSelector", "namespaceSelector", "ipBlock"], faults);
    let (pods, namespaces) = (item.get("podSelector"), item.get("namespaceSelector"));
    if let Some(block) = item.get("ipBlock") {
        if pods.is_some() || namespaces.is_some() {
            faults.at(item, "has both ipBlock and a selector; a peer is one or the other");
        }
        return ip_block(&block, faults).map(Peer::Block);
    }
    if pods.is_none() && namespaces.is_none() {
        // An unknown field has been told already: it may well be a new way to name a peer.
        if faults.count() == before {
            faults.at(item, "is empty; expected podSelector, namespaceSelector or ipBlock");
        }
        return None;
    }
    let pods = match pods {
        Some(field) => selector(&field, faults),
        None => Some(Selector::everything()),
    };
    let namespaces = match namespaces {
        Some(field) => selector(&field, faults).map(NamespaceScope::Matching),
        // There is none only where the policy's own key is a fault, and then there is no policy.
        None => namespace.cloned().map(NamespaceScope::Named),
    };
    Some(Peer::Pods(Arc::new(PodPeer { namespaces: namespaces?, pods: pods? })))
}

fn ip_block(field: &Field<'_>, faults: &mut Faults) -> Option<IpBlock> {
    field.only(&["cidr", "except"], faults);
    let block = match field.get("cidr") {
        Some(cidr) => cidr.parsed(faults, address::cidr),
        None => {
            faults.missing(field, "cidr", "a block such as 10.0.0.0/8 or fd00::/64");
            None
        }
    };
    let mut holes = Vec::new();
    if let Some(listed) = field.get("except") {
        for item in listed.items(faults) {
            let Some(hole) = item.parsed(faults, address::cidr) else { continue };
            holes.push(hole);
            // Each hole by itself: of all together only the first one that is outside would be told.
            if let Some(block) = block
                && let Err(error) = IpBlock::new(block, &[hole])
            {
                faults.at(&item, error.to_string());
            }
        }
    }
    // A hole outside of the block has been told above.
    IpBlock::new(block?, &holes).ok()
}
