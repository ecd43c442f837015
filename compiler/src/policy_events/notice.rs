//! What is told of a policy, and the Event that tells it. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use flock_compiler_core::object::Policy;
use flock_shared::PolicyKey;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// Who tells, as Events name it.
const CONTROLLER: &str = "flock.netpol/compiler";
/// The longest note, in bytes, that an API server takes.
const NOTE: usize = 1024;
/// So many bytes of a policy's name are part of its Events' names, which have 253.
const NAME: usize = 230;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// Some field is not understood.
    NotUnderstood,
    /// It selects no pod.
    SelectsNothing,
    /// What it asks for is in force.
    Enforced,
}

impl Reason {
    /// As Events have it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NotUnderstood => "NotUnderstood",
            Self::SelectsNothing => "SelectsNothing",
            Self::Enforced => "Enforced",
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::NotUnderstood => "Reading",
            Self::SelectsNothing => "Selecting",
            Self::Enforced => "Enforcing",
        }
    }
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Normal,
    Warning,
}

/// One thing that is to be told of a version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) policy: PolicyKey,
    uid: Option<Arc<str>>,
    resource_version: Option<Arc<str>>,
    pub(super) reason: Reason,
    weight: Weight,
    pub(super) note: String,
    /// True if other replicas tell their own part of the same.
    is_a_part: bool,
}

impl Notice {
    pub(super) fn new(policy: &Policy, reason: Reason, weight: Weight, note: &str) -> Self {
        Self {
            policy: policy.key.clone(),
            uid: policy.meta.uid.clone(),
            resource_version: policy.meta.resource_version.clone(),
            reason,
            weight,
            note: plain(note),
            is_a_part: false,
        }
    }

    /// What other replicas tell of the same is another Event.
    pub(super) fn as_a_part(self, is_a_part: bool) -> Self {
        Self { is_a_part, ..self }
    }

    /// The object. Every replica gives it the same name, so that one of them writes it; `instance` tells this one.
    pub(super) fn event(&self, instance: &str) -> Event {
        let Self { policy, uid, resource_version, reason, weight, note, is_a_part } = self;
        let text = |text: &Option<Arc<str>>| text.as_deref().map(ToOwned::to_owned);
        Event {
            metadata: ObjectMeta {
                name: Some(self.name(if *is_a_part { instance } else { "" })),
                namespace: Some(policy.namespace.to_string()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(Timestamp::now())),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            action: Some(reason.action().to_owned()),
            reason: Some(reason.as_str().to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some("networking.k8s.io/v1".to_owned()),
                kind: Some("NetworkPolicy".to_owned()),
                namespace: Some(policy.namespace.to_string()),
                name: Some(policy.name.to_string()),
                uid: text(uid),
                resource_version: text(resource_version),
                ..ObjectReference::default()
            }),
            note: Some(note.clone()),
            type_: Some(format!("{weight:?}")),
            ..Event::default()
        }
    }

    fn name(&self, part: &str) -> String {
        let mut hash = Sha256::new();
        let parts = [self.uid.as_deref().unwrap_or_default(), self.reason.as_str()];
        let parts = parts.into_iter().chain([self.resource_version.as_deref().unwrap_or_default(), part]);
        parts.for_each(|part| {
            hash.update(part);
            hash.update([0]);
        });
        let mut name = self.policy.name.to_string();
        // Names are ASCII.
        name.truncate(NAME);
        let mut name = name.trim_end_matches(['.', '-']).to_owned();
        name.push('.');
        // Writing to a String cannot fail.
        for byte in hash.finalize().iter().take(8) {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// Text as it may stand in a note: of one line, and not too long.
fn plain(text: &str) -> String {
    let is_shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain: String = text.chars().map(|c| if is_shown(c) { c } else { ' ' }).take(NOTE).collect();
    if plain.len() > NOTE {
        let end =
            (0..=NOTE - '…'.len_utf8()).rev().find(|at| plain.is_char_boundary(*at)).unwrap_or_default();
        plain.truncate(end);
        plain.push('…');
    }
    plain
}
