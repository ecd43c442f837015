//! Who calls: a layer before the methods of askers. Their requests may be long, so nothing of a body is read before the API
//! server knows whose it is; what the asker may is looked at by each method, for that depends on the message.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::access::Access;
use crate::service::connection::ConnectionHandle;

/// Long requests that are read or answered at a time: they bring manifests.
const LONG: usize = 8;
/// How long one of them may take in all.
const LONGEST: Duration = Duration::from_secs(60);
/// The methods whose requests may be long.
const METHODS: [&str; 2] = ["Preview", "Lint"];

/// What long requests wait for.
#[derive(Debug, Clone)]
pub(super) struct LongRequests(Arc<Semaphore>);

impl Default for LongRequests {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LONG)))
    }
}

/// Answers a request by `service` if the API server knows its token, else with the reason why not.
pub(super) async fn authenticated(
    access: Access,
    long: LongRequests,
    request: Request<Body>,
    mut service: impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
) -> Result<Response<Body>, Infallible> {
    let admitted = match ConnectionHandle::of(request.extensions()) {
        Ok(connection) => {
            let admitting = access.anybody(request.headers(), connection.peer());
            connection.admit(admitting).await.map(drop)
        }
        Err(status) => Err(status),
    };
    if let Err(status) = admitted {
        return Ok(status.into_http());
    }
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    if !METHODS.contains(&method) {
        // It is always ready.
        return service.call(request).await;
    }
    let answered = timeout(LONGEST, async {
        // It is never closed. The permit is kept until the answer begins: the request is read by then.
        let _permit = long.0.acquire().await;
        service.call(request).await
    });
    let late = || Ok(Status::deadline_exceeded(format!("no answer within {LONGEST:?}")).into_http());
    answered.await.unwrap_or_else(|_| late())
}
