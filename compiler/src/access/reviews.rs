//! Reviews by the API server: whose token is this (TokenReview), and may they do that (SubjectAccessReview)?
//!
//! How many are made at once is limited by semaphores, not by a layer of tower: a caller's patience counts while it waits for its
//! turn, and tower's timeout begins when the turn has come.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flock_shared::NodeName;
use flock_shared::token::BearerToken;
use k8s_openapi::Resource as _;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::account::ServiceAccount;
use super::cache::{Cache, CacheKey};
use super::denied::Denied;
use super::identity::{Identity, bounded};
use super::permission::Permission;

use crate::metrics::Metrics;
use crate::throttle::Throttle;

/// How old an answer may be that counts for an open stream.
const JUST_NOW: Duration = Duration::from_secs(1);

/// Reviews that are asked for at once; the others wait. The API server has more to do.
const AT_ONCE: usize = 32;

/// Answers that are remembered: more than a cluster has nodes, each about a kilobyte.
const REMEMBERED: usize = 16_384;

/// Refusals that are logged in each span of time. All are counted.
const LOGGED: (u32, Duration) = (20, Duration::from_secs(10));

/// Whose tokens are accepted, and how often they are reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewSettings {
    /// The audience that tokens must be for.
    pub audience: String,
    /// Whose tokens are agents'.
    pub agents: ServiceAccount,
    /// How long an answer counts for later callers with the same token.
    pub remembered: Duration,
    /// How long an open stream goes on before it is reviewed again.
    pub again: Duration,
    /// How long an open stream goes on after a review that failed.
    pub retry: Duration,
    /// How long the API server may take.
    pub patience: Duration,
}

impl ReviewSettings {
    /// What a cluster of thousands of nodes bears: 5,000 agents are 17 reviews a second.
    #[must_use]
    pub const fn new(audience: String, agents: ServiceAccount) -> Self {
        Self {
            audience,
            agents,
            remembered: Duration::from_secs(20),
            again: Duration::from_secs(300),
            retry: Duration::from_secs(30),
            patience: Duration::from_secs(5),
        }
    }
}

/// What a caller wants to be let in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The agent of a node.
    Agent,
    /// A client that wants to do one thing.
    Client(Permission),
    /// A client of which it is not known yet what it wants.
    Anybody,
}

/// For whom a review is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A call or a stream that has just come.
    Newcomer,
    /// An open stream. What another one with the same token has just been answered counts.
    Stream,
}

/// A caller that may be let in.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) identity: Arc<Identity>,
    /// An agent's node.
    pub(super) node: Option<NodeName>,
}

/// The API server's judgements, briefly remembered.
#[derive(Debug)]
pub struct Reviews {
    client: ReviewClient,
    pub(super) settings: ReviewSettings,
    identities: Cache<Result<Arc<Identity>, Denied>>,
    decisions: Cache<Result<(), Denied>>,
    newcomers: Semaphore,
    /// Those of open streams do not wait behind callers that may be nobody.
    streams: Semaphore,
    metrics: Arc<Metrics>,
    log: Throttle,
}

/// A client, which has no `Debug` of its own.
struct ReviewClient(Client);

impl std::fmt::Debug for ReviewClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Reviews {
    /// Reviews by the API server that `client` leads to.
    #[must_use]
    pub fn new(client: Client, settings: ReviewSettings, metrics: Arc<Metrics>) -> Self {
        Self {
            client: ReviewClient(client),
            settings,
            identities: Cache::new(REMEMBERED),
            decisions: Cache::new(REMEMBERED),
            newcomers: Semaphore::new(AT_ONCE),
            streams: Semaphore::new(AT_ONCE),
            metrics,
            log: Throttle::new(LOGGED.0, LOGGED.1),
        }
    }

    /// Counts a refusal, and logs it unless there are too many.
    pub(super) fn report(&self, denied: &Denied, peer: Option<IpAddr>) {
        self.metrics.denied(denied.kind());
        if let Some(kept_back) = self.log.pass(denied.kind()) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, kind = denied.kind(), reason = ?denied.to_string(), kept_back, "denied");
        }
    }

    /// Logs a review of an open stream that failed, unless there are too many.
    pub(super) fn failed(&self, reason: &str) {
        if let Some(kept_back) = self.log.pass("an open stream") {
            tracing::warn!(reason, kept_back, "a stream could not be reviewed; it goes on");
        }
    }

    /// Reviews the bearer of `token`, who wants to be let in or to go on.
    pub(super) async fn review(
        &self,
        token: &BearerToken,
        role: &Role,
        caller: Caller,
    ) -> Result<Verified, Denied> {
        let max_age = match caller {
            Caller::Newcomer => self.settings.remembered,
            Caller::Stream => JUST_NOW,
        };
        // Prometheus brings the token that it has, which is for the API server.
        let audience = match role {
            Role::Client(Permission::Page(_)) => None,
            Role::Agent | Role::Client(_) | Role::Anybody => Some(self.settings.audience.as_str()),
        };
        let key = key(&[token.secret(), audience.unwrap_or_default()]);
        let ask = || self.identify(token, audience, caller);
        // Two layers of result: the outer one is about asking and is not remembered, the inner one is the answer.
        let mut identity = self.identities.get(key, max_age, ask()).await??;
        if identity.expires.is_some_and(|end| end <= SystemTime::now()) {
            // An answer from before its end says nothing of now.
            identity = self.identities.get(key, Duration::ZERO, ask()).await??;
        }
        let node = match role {
            Role::Agent => Some(identity.node(&self.settings.agents)?),
            Role::Anybody => None,
            Role::Client(what) => {
                // By token rather than by name: groups and extra come with the token, and are part of the question.
                let key = self::key(&[token.secret(), audience.unwrap_or_default(), &what.to_string()]);
                self.decisions.get(key, max_age, self.decide(&identity, what, caller)).await??;
                None
            }
        };
        Ok(Verified { identity, node })
    }

    async fn identify(
        &self,
        token: &BearerToken,
        audience: Option<&str>,
        caller: Caller,
    ) -> Result<Result<Arc<Identity>, Denied>, Denied> {
        let spec = TokenReviewSpec {
            token: Some(token.secret().to_owned()),
            audiences: audience.map(|audience| vec![audience.to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        // A review without a status vouches for nobody.
        let status = self.create(review, TokenReview::KIND, caller).await?.status.unwrap_or_default();
        Ok(Identity::new(status, token, audience).map(Arc::new))
    }

    async fn decide(
        &self,
        identity: &Identity,
        permission: &Permission,
        caller: Caller,
    ) -> Result<Result<(), Denied>, Denied> {
        let Identity { username, uid, groups, extra, .. } = identity.clone();
        let (resource_attributes, non_resource_attributes) = permission.attributes();
        let spec = SubjectAccessReviewSpec {
            user: Some(username),
            uid,
            groups: Some(groups),
            extra: Some(extra),
            resource_attributes,
            non_resource_attributes,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = self.create(review, SubjectAccessReview::KIND, caller).await?.status.unwrap_or_default();
        // The API says that not both are true. If they are, it is a refusal.
        if status.allowed && status.denied != Some(true) {
            return Ok(Ok(()));
        }
        let reason = bounded(&status.reason.unwrap_or_default());
        Ok(Err(Denied::Forbidden {
            username: identity.username.clone(),
            permission: permission.to_string(),
            reason,
        }))
    }

    /// Has a review made by the API server.
    async fn create<R>(&self, review: R, kind: &'static str, caller: Caller) -> Result<R, Denied>
    where
        R: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let patience = self.settings.patience;
        let asked = async {
            // It is never closed.
            let _permit = match caller {
                Caller::Newcomer => self.newcomers.acquire().await,
                Caller::Stream => self.streams.acquire().await,
            };
            // In a box: a request takes 8 kB while it is made, and the many that wait for their turn need not have them.
            Box::pin(Api::all(self.client.0.clone()).create(&PostParams::default(), &review)).await
        };
        let (outcome, answer) = match timeout(patience, asked).await {
            Ok(Ok(reviewed)) => ("answered", Ok(reviewed)),
            Ok(Err(error)) => ("failed", Err(bounded(&error.to_string()))),
            Err(_) => ("timed_out", Err(format!("no answer within {patience:?}"))),
        };
        self.metrics.review(kind, outcome);
        answer.map_err(|reason| Denied::Unreviewed { reason })
    }
}

/// A hash that no two questions share.
fn key(parts: &[&str]) -> CacheKey {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no caller can shift bytes from one part to the next and get another's answer.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
