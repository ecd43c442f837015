//! Who may ask the compiler for what.
//!
//! ```text
//! header ─ token ─▶ TokenReview ─▶ Identity ─┬─ agent: the expected ServiceAccount, and the node that its pod is on
//!                  (cached by hash)          └─ client: SubjectAccessReview of what is asked (cached)
//!                        ▲
//! Grant ─ an open stream is reviewed again ──┘  and ends when its token does
//! ```
//!
//! The API server judges, nothing is decided here that it could decide. When it cannot be asked, who is in stays in and
//! nobody else comes in.

mod account;
mod cache;
mod denied;
mod grant;
mod identity;
mod permission;
mod presented;
mod reviews;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NamespaceName;
use http::HeaderMap;

pub use account::{ServiceAccount, ServiceAccountError};
pub use denied::Denied;
pub use grant::Grant;
pub use permission::{Permission, Resource};
pub use reviews::{ReviewSettings, Reviews};

use reviews::Role;

/// The namespaces that a client may ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// All.
    All,
    /// These; at least one.
    In(BTreeSet<NamespaceName>),
}

/// Which callers are let in.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everybody, without a word: on loopback, where whoever calls is on this machine.
    Open,
    /// Whom the API server vouches for.
    Reviewed(Arc<Reviews>),
}

impl Access {
    /// Lets an agent in, for the node that its token is bound to.
    ///
    /// # Errors
    /// [`Denied`] says why it is not one, after it was logged and counted.
    pub async fn agent(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Grant, Denied> {
        self.admit(headers, peer, Role::Agent).await
    }

    /// Lets a debug client ask one thing.
    ///
    /// # Errors
    /// [`Denied`] says why it may not, after it was logged and counted.
    pub async fn client(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        permission: Permission,
    ) -> Result<Grant, Denied> {
        self.admit(headers, peer, Role::Client(permission)).await
    }

    /// Lets anybody in whom the API server knows; what they may is not looked at.
    ///
    /// # Errors
    /// [`Denied`] says why it is nobody, after it was logged and counted.
    pub async fn anybody(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Grant, Denied> {
        self.admit(headers, peer, Role::Anybody).await
    }

    /// Lets a debug client ask about what is in namespaces, `of` each of which says what has to be allowed, and `of(None)` for
    /// all of them. What it may not see of these namespaces is no refusal, unless it may see none.
    ///
    /// # Errors
    /// [`Denied`] says why it may see none of them, after it was logged and counted.
    pub async fn asker(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        of: impl Fn(Option<NamespaceName>) -> Permission,
        namespaces: &BTreeSet<NamespaceName>,
    ) -> Result<(Grant, Allowed), Denied> {
        let Self::Reviewed(reviews) = self else { return Ok((Grant::open(), Allowed::All)) };
        let admitted = async {
            let token = presented::token(headers)?;
            let review = |namespace| {
                let role = Role::Client(of(namespace));
                Grant::new(Arc::clone(reviews), token.clone(), role, peer)
            };
            let mut refused = match review(None).await {
                Ok(grant) => return Ok((grant, Allowed::All)),
                Err(refused @ Denied::Forbidden { .. }) => refused,
                Err(other) => return Err(other),
            };
            let (mut first, mut seen) = (None, BTreeSet::new());
            for namespace in namespaces {
                match review(Some(namespace.clone())).await {
                    Ok(grant) => {
                        seen.insert(namespace.clone());
                        first.get_or_insert(grant);
                    }
                    Err(why @ Denied::Forbidden { .. }) => refused = why,
                    Err(other) => return Err(other),
                }
            }
            first.map(|grant| (grant, Allowed::In(seen))).ok_or(refused)
        };
        Box::pin(admitted).await.inspect_err(|denied| reviews.report(denied, peer))
    }

    async fn admit(&self, headers: &HeaderMap, peer: Option<IpAddr>, role: Role) -> Result<Grant, Denied> {
        let Self::Reviewed(reviews) = self else { return Ok(Grant::open()) };
        let admitted = async {
            let token = presented::token(headers)?;
            Grant::new(Arc::clone(reviews), token, role, peer).await
        };
        // In a box, for a stream that was let in lives for months and would keep the room for it (9 kB).
        Box::pin(admitted).await.inspect_err(|denied| reviews.report(denied, peer))
    }
}
