//! TokenRequest: a token of a service account, issued and known from then on.

use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::account::AccountToken;
use crate::identity::{API_AUDIENCE, Identities};
use crate::kind::{POD, SERVICE_ACCOUNT};
use crate::review::{read, write};
use crate::status::Status;
use crate::store::Store;

const DEFAULT_SECONDS: i64 = 60 * 60;
const SHORTEST_SECONDS: i64 = 10 * 60;

/// Issues the token that a request asks for.
pub(crate) fn issue(
    store: &Store,
    identities: &Identities,
    namespace: &str,
    name: &str,
    body: &[u8],
) -> Result<Value, Status> {
    let mut request: TokenRequest = read(body)?;
    let account = store
        .get(SERVICE_ACCOUNT, namespace, name)
        .ok_or_else(|| Status::not_found(&SERVICE_ACCOUNT, name))?;
    let seconds = request.spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    if seconds < SHORTEST_SECONDS {
        let fault = "spec.expirationSeconds: may not specify a duration less than 10 minutes";
        return Err(Status::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("TokenRequest.authentication.k8s.io {name:?} is invalid: {fault}"),
        ));
    }
    let lifetime = Duration::from_secs(seconds.unsigned_abs());
    let mut token = AccountToken::new(namespace, name).uid(uid_of(&account)).lifetime(lifetime);
    for audience in &request.spec.audiences {
        token = token.audience(audience);
    }
    if let Some(reference) = &request.spec.bound_object_ref {
        token = bind(token, store, namespace, name, reference)?;
    }
    if request.spec.audiences.is_empty() {
        request.spec.audiences = vec![API_AUDIENCE.to_owned()];
    }
    request.spec.expiration_seconds = Some(seconds);
    let expires = Timestamp::try_from(identities.now() + lifetime)
        .map_err(|error| Status::bad_request(error.to_string()))?;
    // As the server writes it: whole seconds.
    let expires = Timestamp::from_second(expires.as_second()).unwrap_or(expires);
    request.metadata.name = Some(name.to_owned());
    request.metadata.namespace = Some(namespace.to_owned());
    request.status =
        Some(TokenRequestStatus { token: identities.issue(&token), expiration_timestamp: Time(expires) });
    write(&request)
}

/// Binds a token to a pod, which must run as the account; the node that it runs on comes with it.
fn bind(
    token: AccountToken,
    store: &Store,
    namespace: &str,
    account: &str,
    reference: &BoundObjectReference,
) -> Result<AccountToken, Status> {
    let name = reference.name.as_deref().unwrap_or_default();
    if reference.kind.as_deref() != Some(POD.kind) {
        return Err(Status::bad_request("boundObjectRef: this test server binds tokens to pods only"));
    }
    let pod = store.get(POD, namespace, name).ok_or_else(|| Status::not_found(&POD, name))?;
    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str);
    let uid = uid_of(&pod);
    if reference.uid.as_deref().is_some_and(|wanted| !wanted.is_empty() && wanted != uid) {
        let message = format!("the UID in the bound object reference does not match the UID in record {uid}");
        return Err(Status::new(StatusCode::CONFLICT, "Conflict", message).about(&POD, name));
    }
    if text("/spec/serviceAccountName").unwrap_or("default") != account {
        let message = format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name"
        );
        return Err(Status::bad_request(message));
    }
    let token = token.pod(name, uid);
    Ok(match text("/spec/nodeName") {
        Some(node) => token.node(node),
        None => token,
    })
}

fn uid_of(object: &Value) -> &str {
    object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}
