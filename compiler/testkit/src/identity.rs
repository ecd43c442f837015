//! Who is behind a token: what a test has registered or the server has issued, and for how long and for whom it counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::account::AccountToken;
use crate::kind::POD;
use crate::store::Store;

/// The audience of the server's own, which tokens and reviews without one are for.
pub const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// Who is behind a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub username: String,
    /// User ID; empty if there is none.
    pub uid: String,
    /// Groups, without `system:authenticated`, which everybody is in.
    pub groups: Vec<String>,
    /// What else is known of the user.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Whom the token is for; empty: the server.
    pub audiences: Vec<String>,
    /// When the token ends.
    pub expires: Option<SystemTime>,
    /// The pod that the token ends with.
    pub pod: Option<BoundPod>,
}

/// The pod that a token was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: another pod of this name is another one.
    pub uid: String,
}

impl Identity {
    /// A user in no group.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self { username: name.into(), ..Self::default() }
    }

    fn audiences(&self) -> Vec<String> {
        if self.audiences.is_empty() { vec![API_AUDIENCE.to_owned()] } else { self.audiences.clone() }
    }
}

/// A token that counts.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) identity: Identity,
    /// Those of the audiences asked for that the token has; not empty.
    pub(crate) audiences: Vec<String>,
}

/// All tokens of a server, and the clock by which they end.
#[derive(Default)]
pub struct Identities(Mutex<KnownTokens>);

#[derive(Default)]
struct KnownTokens {
    known: BTreeMap<String, Identity>,
    /// How far the clock is ahead of the machine's.
    ahead: Duration,
    issued: u64,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("tokens", &self.inner().known.len()).finish_non_exhaustive()
    }
}

impl Identities {
    fn inner(&self) -> MutexGuard<'_, KnownTokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `token`, any string, that of `identity`.
    pub fn register(&self, token: impl Into<String>, identity: Identity) {
        self.inner().known.insert(token.into(), identity);
    }

    /// Issues a token of a service account, a JWT whose signature nobody can check.
    #[must_use]
    pub fn issue(&self, account: &AccountToken) -> String {
        let mut inner = self.inner();
        inner.issued += 1;
        let (token, identity) = account.sign(SystemTime::now() + inner.ahead, inner.issued);
        inner.known.insert(token.clone(), identity);
        token
    }

    /// Forgets a token. Returns true if it was known.
    pub fn revoke(&self, token: &str) -> bool {
        self.inner().known.remove(token).is_some()
    }

    /// Puts the clock forward by which tokens end.
    pub fn advance(&self, time: Duration) {
        self.inner().ahead += time;
    }

    /// The time by which tokens end.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        SystemTime::now() + self.inner().ahead
    }

    /// Who is behind a token, if it counts for one of `audiences`; otherwise the server's words for why not.
    pub(crate) fn authenticate(
        &self,
        store: &Store,
        token: &str,
        audiences: &[String],
    ) -> Result<Authenticated, String> {
        let now = self.now();
        let known = self.inner().known.get(token).cloned();
        let identity = known.ok_or("invalid bearer token")?;
        if identity.expires.is_some_and(|expires| expires <= now) {
            return Err("[invalid bearer token, service account token has expired]".to_owned());
        }
        if identity.pod.as_ref().is_some_and(|pod| !lives(pod, store)) {
            return Err("[invalid bearer token, service account token has been invalidated]".to_owned());
        }
        let own = identity.audiences();
        let shared: Vec<String> = audiences.iter().filter(|asked| own.contains(asked)).cloned().collect();
        if shared.is_empty() {
            return Err(format!(
                "[invalid bearer token, token audiences {own:?} is invalid for the target audiences {audiences:?}]"
            ));
        }
        Ok(Authenticated { identity, audiences: shared })
    }
}

fn lives(pod: &BoundPod, store: &Store) -> bool {
    let found = store.get(POD, &pod.namespace, &pod.name);
    let uid = found.as_ref().and_then(|found| found.pointer("/metadata/uid")).and_then(Value::as_str);
    uid == Some(&pod.uid)
}
