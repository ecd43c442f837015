//! Who calls: a layer before the methods of agents. A debug client's requests are let in by each method instead, for what has
//! to be allowed depends on the message.

use std::convert::Infallible;

use flock_proto::v1::node_service_server::SERVICE_NAME;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::access::{Access, Grant};
use crate::service::connection::ConnectionHandle;

/// The methods of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AgentMethod {
    Subscribe,
    Attach,
    Detach,
}

/// A request of an agent that was let in.
#[derive(Debug)]
pub(super) struct AgentRequest {
    pub(super) method: AgentMethod,
    pub(super) grant: Grant,
    pub(super) connection: ConnectionHandle,
    pub(super) request: Request<Body>,
}

/// Answers a request: by `endpoint` if its token is an agent's, else with the reason why not. Of its body nothing is read
/// before that. (tower's own filter has an error of any kind, where a server wants none.)
pub(super) async fn authenticated(
    access: Access,
    request: Request<Body>,
    mut endpoint: impl Service<AgentRequest, Response = Response<Body>, Error = Infallible>,
) -> Result<Response<Body>, Infallible> {
    match authenticate(&access, request).await {
        // It is always ready.
        Ok(request) => endpoint.call(request).await,
        Err(status) => Ok(status.into_http()),
    }
}

async fn authenticate(access: &Access, request: Request<Body>) -> Result<AgentRequest, Status> {
    let method = match request.uri().path().rsplit('/').next() {
        Some("Subscribe") => AgentMethod::Subscribe,
        Some("Attach") => AgentMethod::Attach,
        Some("Detach") => AgentMethod::Detach,
        _ => return Err(Status::unimplemented(format!("{SERVICE_NAME} has no such method"))),
    };
    let connection = ConnectionHandle::of(request.extensions())?;
    let admitting = access.agent(request.headers(), connection.peer());
    let grant = connection.admit(admitting).await?;
    Ok(AgentRequest { method, grant, connection, request })
}
