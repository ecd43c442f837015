//! Where a verdict comes from, as it is shown.

use std::sync::Arc;

use flock_compiler_core::judge::Cite;
use flock_compiler_core::object::{Direction, Policy};
use flock_proto::v1;

use crate::Sight;

/// A cite as an asker may see it: of a policy in a namespace that the asker may not see, no more than that there is one.
#[must_use]
pub fn cite(cite: &Cite, sight: &Sight) -> v1::Cite {
    let Policy { key, .. } = &*cite.policy;
    let namespace = key.namespace.to_string();
    if !sight.sees(&key.namespace) {
        // All cites of such a namespace are equal: it is how repetitions are found, which would tell how many
        // policies it has.
        return v1::Cite { text: policy_name(&cite.policy, sight), namespace, ..v1::Cite::default() };
    }
    let position = |index: usize| u32::try_from(index).ok();
    let Meta { uid, resource_version } = meta(&cite.policy);
    v1::Cite {
        text: cite.to_string(),
        namespace,
        policy: Some(key.name.to_string()),
        direction: Some(direction(cite.direction).into()),
        rule: position(cite.rule),
        peer: cite.peer.and_then(position),
        port: cite.port.and_then(position),
        uid,
        resource_version,
    }
}

/// `shop/web`; "a policy of namespace shop" where the asker may not see it.
#[must_use]
pub fn policy_name(policy: &Policy, sight: &Sight) -> String {
    match sight.sees(&policy.key.namespace) {
        true => policy.key.to_string(),
        false => format!("a policy of namespace {}", policy.key.namespace),
    }
}

/// A direction as messages say it.
#[must_use]
pub const fn direction(direction: Direction) -> v1::Direction {
    match direction {
        Direction::Ingress => v1::Direction::Ingress,
        Direction::Egress => v1::Direction::Egress,
    }
}

/// Which object a policy is; what is not known is absent.
pub(crate) struct Meta {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// `metadata.uid` and `metadata.resourceVersion` of a policy.
pub(crate) fn meta(policy: &Policy) -> Meta {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    Meta { uid: text(&policy.meta.uid), resource_version: text(&policy.meta.resource_version) }
}
