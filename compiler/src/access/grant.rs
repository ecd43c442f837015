//! What an open stream was let in with, and for how long.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flock_shared::NodeName;
use flock_shared::token::BearerToken;
use rand::Rng as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::denied::Denied;
use super::reviews::{Caller, Reviews, Role, Verified};

/// The least time between two reviews of one stream, should its token's end and the clocks disagree.
const LEAST: Duration = Duration::from_secs(5);

/// How long after its end a token is reviewed for the last time: clocks differ, and the API server's decides.
const AFTER_ITS_END: Duration = Duration::from_secs(1);

/// What a caller was let in with.
#[derive(Debug)]
pub struct Grant(Option<Box<ReviewedGrant>>);

#[derive(Debug)]
struct ReviewedGrant {
    reviews: Arc<Reviews>,
    token: BearerToken,
    role: Role,
    peer: Option<IpAddr>,
    node: Option<NodeName>,
    user: Arc<str>,
    /// When the next review is due.
    due: Instant,
    /// The review that is being made. A task, so that a stream that is busy does not begin it again and again.
    running: JoinSet<Result<Verified, Denied>>,
}

impl Grant {
    /// One that never ends.
    pub(super) const fn open() -> Self {
        Self(None)
    }

    pub(super) async fn new(
        reviews: Arc<Reviews>,
        token: BearerToken,
        role: Role,
        peer: Option<IpAddr>,
    ) -> Result<Self, Denied> {
        let verified = reviews.review(&token, &role, Caller::Newcomer).await?;
        let due = due(&reviews, &verified);
        let (user, node, running) =
            (verified.identity.username.as_str().into(), verified.node, JoinSet::new());
        Ok(Self(Some(Box::new(ReviewedGrant { reviews, token, role, peer, node, user, due, running }))))
    }

    /// Whom the API server takes the caller for; `None`: nobody is reviewed.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.0.as_ref().map(|reviewed| &reviewed.user)
    }

    /// Checks that an agent with this grant may ask for `node`.
    ///
    /// # Errors
    /// [`Denied::WrongNode`], after it was logged and counted.
    pub fn check_node(&self, node: &NodeName) -> Result<(), Denied> {
        let Some(reviewed) = &self.0 else { return Ok(()) };
        match &reviewed.node {
            Some(own) if own != node => {
                let denied = Denied::WrongNode { own: own.clone(), asked: node.clone() };
                reviewed.reviews.report(&denied, reviewed.peer);
                Err(denied)
            }
            _ => Ok(()),
        }
    }

    /// Waits until what was allowed is allowed no more; says why, after it was logged and counted. May be dropped and
    /// called again.
    pub async fn revoked(&mut self) -> Denied {
        let Some(reviewed) = &mut self.0 else { return pending().await };
        let denied = reviewed.revoked().await;
        reviewed.reviews.report(&denied, reviewed.peer);
        denied
    }
}

impl ReviewedGrant {
    async fn revoked(&mut self) -> Denied {
        loop {
            if self.running.is_empty() {
                // Until then this may be dropped and called again: nothing has begun.
                sleep_until(self.due).await;
                let (reviews, token, role) =
                    (Arc::clone(&self.reviews), self.token.clone(), self.role.clone());
                self.running.spawn(async move { reviews.review(&token, &role, Caller::Stream).await });
            }
            match self.running.join_next().await {
                Some(Ok(Ok(verified))) => match (&verified.node, &self.node) {
                    // A token names the node that it was made for, so this takes a broken API server.
                    (Some(own), Some(asked)) if own != asked => {
                        return Denied::WrongNode { own: own.clone(), asked: asked.clone() };
                    }
                    _ => self.due = due(&self.reviews, &verified),
                },
                // An API server that is away takes nobody's rights: the stream goes on.
                Some(Ok(Err(Denied::Unreviewed { reason }))) => {
                    self.reviews.failed(&reason);
                    self.due = Instant::now() + self.reviews.settings.retry;
                }
                Some(Ok(Err(denied))) => return denied,
                // A review that panicked says nothing of anybody's rights.
                Some(Err(_)) | None => self.due = Instant::now() + self.reviews.settings.retry,
            }
        }
    }
}

/// When to look again: after a while, not with all the others, and when the token ends.
fn due(reviews: &Reviews, verified: &Verified) -> Instant {
    let again = reviews.settings.again.mul_f64(rand::rng().random_range(0.8..1.0));
    let left = verified.identity.expires.map(|end| {
        // A token that has ended by this clock and not by the API server's is not asked for all the time.
        end.duration_since(SystemTime::now()).map_or(LEAST, |left| left + AFTER_ITS_END)
    });
    Instant::now() + left.map_or(again, |left| left.min(again))
}
