//! Letting a caller in by what its request shows. Of a connection whose peer is not known, one token is looked at at a
//! time, and none after one that was refused: strangers do not decide how much the API server is asked.

use tonic::Status;

use super::link::Link;
use crate::access::{Denied, Pass};

/// What `admitting` comes to for a request on `link`.
pub(super) async fn admit(
    link: &Link,
    admitting: impl Future<Output = Result<Pass, Denied>>,
) -> Result<Pass, Status> {
    let mut showing = link.show().await;
    if showing.as_ref().is_some_and(|showing| showing.refused) && link.stranger_since().is_some() {
        return Err(Status::unauthenticated("another token was refused on this connection"));
    }
    let admitted = admitting.await;
    match &admitted {
        Ok(_) => link.introduce(),
        Err(Denied::NotAuthenticated { .. } | Denied::WrongAudience { .. }) => {
            showing.iter_mut().for_each(|showing| showing.refused = true);
        }
        Err(_) => {}
    }
    Ok(admitted?)
}
