//! What the tests share: a server with its client, and refusals as they arrive.

use flock_testkit::{ApiServer, Settings};
use kube::core::Status;
use kube::{Client, Error};

/// A server and a client of it that does not try again.
pub(crate) async fn server() -> (ApiServer, Client) {
    server_with(Settings::default(), None).await
}

/// A server, and a client of it with a token.
pub(crate) async fn server_with(settings: Settings, token: Option<&str>) -> (ApiServer, Client) {
    let server = ApiServer::start_with(settings).await.unwrap();
    let client = client(&server, token);
    (server, client)
}

/// A client with a token.
pub(crate) fn client(server: &ApiServer, token: Option<&str>) -> Client {
    let mut config = server.config();
    config.default_retry = false;
    config.auth_info.token = token.map(|token| token.to_owned().into());
    Client::try_from(config).unwrap()
}

/// The status that a request must be refused with.
pub(crate) fn status<T: std::fmt::Debug>(result: Result<T, Error>) -> Status {
    match result {
        Err(Error::Api(status)) => *status,
        other => panic!("expected a status, got {other:?}"),
    }
}
