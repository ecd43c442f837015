//! Whether the peer of a connection has shown who it is.
//!
//! Of one that has not, one token is reviewed at a time, and none after one that was refused: who is not authenticated does
//! not decide how much the API server is asked.

use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tonic::Status;

use crate::access::{Denied, Grant};
use crate::listen::{Authenticated, Unauthenticated};

#[derive(Debug)]
pub(super) struct Authentication {
    state: Mutex<AuthenticationState>,
    /// Locked while a token of a peer that is not authenticated is reviewed.
    reviewed: AsyncMutex<ReviewedTokens>,
}

#[derive(Debug)]
enum AuthenticationState {
    /// The peer has shown who it is, or need not.
    Done {
        /// Its address is known while this is there.
        _known: Option<Authenticated>,
    },
    /// It has to.
    Pending {
        since: Instant,
        /// Its place among those that are not authenticated; `None`: it was authenticated before.
        place: Option<Unauthenticated>,
    },
}

/// What came of the tokens that a peer has shown before it was authenticated.
#[derive(Debug, Default)]
struct ReviewedTokens {
    /// One was refused: no other is looked at.
    is_refused: bool,
}

impl Authentication {
    pub(super) fn new(unauthenticated: Option<Unauthenticated>) -> Self {
        let state = match unauthenticated {
            Some(place) => AuthenticationState::Pending { since: place.since(), place: Some(place) },
            None => AuthenticationState::Done { _known: None },
        };
        Self { state: Mutex::new(state), reviewed: AsyncMutex::default() }
    }

    pub(super) fn done(&self) {
        let mut state = self.state.lock();
        if let AuthenticationState::Pending { place, .. } = &mut *state {
            let known = place.take().map(Unauthenticated::authenticated);
            *state = AuthenticationState::Done { _known: known };
        }
    }

    pub(super) fn revoked(&self) {
        let mut state = self.state.lock();
        // A peer that is unauthenticated already gains no time by being refused once more.
        if matches!(*state, AuthenticationState::Done { .. }) {
            *state = AuthenticationState::Pending { since: Instant::now(), place: None };
        }
    }

    /// Since when the peer has owed it to show who it is; `None` if it has, or need not.
    pub(super) fn pending_since(&self) -> Option<Instant> {
        match &*self.state.lock() {
            AuthenticationState::Pending { since, .. } => Some(*since),
            AuthenticationState::Done { .. } => None,
        }
    }

    pub(super) async fn admit(
        &self,
        admitting: impl Future<Output = Result<Grant, Denied>>,
    ) -> Result<Grant, Status> {
        // The lock is held over the review, so requests of one connection wait for each other; once the peer is
        // authenticated they do not.
        let mut reviewed = match self.pending_since() {
            Some(_) => Some(self.reviewed.lock().await),
            None => None,
        };
        // The peer may have been authenticated while this waited: then an earlier refusal counts no more.
        if reviewed.as_ref().is_some_and(|tokens| tokens.is_refused) && self.pending_since().is_some() {
            return Err(Status::unauthenticated("another token was refused on this connection"));
        }
        let admitted = admitting.await;
        match &admitted {
            Ok(_) => self.done(),
            // What says nothing of the token (no header, an API server that is away) uses up no attempt.
            Err(Denied::NotAuthenticated { .. } | Denied::WrongAudience { .. }) => {
                reviewed.iter_mut().for_each(|tokens| tokens.is_refused = true);
            }
            Err(_) => {}
        }
        Ok(admitted?)
    }

    /// Returns true if the connection has to make room for another one; has the task woken once it has to.
    pub(super) fn is_evicted(&self, waker: &Waker) -> bool {
        match &*self.state.lock() {
            AuthenticationState::Pending { place: Some(place), .. } => {
                // Registered before it is looked: an eviction in between wakes the task once more.
                place.wakes(waker);
                place.is_evicted()
            }
            AuthenticationState::Pending { place: None, .. } | AuthenticationState::Done { .. } => false,
        }
    }

    /// The connection has ended: its place is free, or its address known for some time more only.
    pub(super) fn ended(&self) {
        *self.state.lock() = AuthenticationState::Done { _known: None };
    }
}
