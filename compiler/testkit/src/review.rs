//! TokenReview, SubjectAccessReview and SelfSubjectAccessReview: questions that are asked by creating them.

use http::StatusCode;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{
    SelfSubjectAccessReview, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::grants::Grants;
use crate::identity::{API_AUDIENCE, Authenticated, Identities, Identity};
use crate::status::Status;
use crate::store::Store;

/// The group of everybody whose token counts.
const AUTHENTICATED: &str = "system:authenticated";
/// Who shows no token.
const ANONYMOUS: &str = "system:anonymous";

/// Who is behind a token.
pub(crate) fn token(store: &Store, identities: &Identities, body: &[u8]) -> Result<Value, Status> {
    let mut review: TokenReview = read(body)?;
    let token = review.spec.token.as_deref().filter(|token| !token.is_empty());
    let token =
        token.ok_or_else(|| Status::bad_request("token is required for TokenReview in authentication"))?;
    let asked = review.spec.audiences.clone().filter(|audiences| !audiences.is_empty());
    let asked = asked.unwrap_or_else(|| vec![API_AUDIENCE.to_owned()]);
    review.status = Some(match identities.authenticate(store, token, &asked) {
        Ok(Authenticated { identity, audiences }) => {
            let mut groups = identity.groups;
            if !groups.iter().any(|group| group == AUTHENTICATED) {
                groups.push(AUTHENTICATED.to_owned());
            }
            let user = UserInfo {
                username: Some(identity.username),
                uid: Some(identity.uid).filter(|uid| !uid.is_empty()),
                groups: Some(groups),
                extra: Some(identity.extra).filter(|extra| !extra.is_empty()),
            };
            let audiences = Some(audiences);
            TokenReviewStatus { authenticated: Some(true), user: Some(user), audiences, error: None }
        }
        Err(error) => {
            TokenReviewStatus { user: Some(UserInfo::default()), error: Some(error), ..Default::default() }
        }
    });
    write(&review)
}

/// Whether somebody may do something.
pub(crate) fn access(grants: &Grants, body: &[u8]) -> Result<Value, Status> {
    let mut review: SubjectAccessReview = read(body)?;
    let spec = &review.spec;
    let fault = if spec.resource_attributes.is_some() == spec.non_resource_attributes.is_some() {
        Some("spec: exactly one of nonResourceAttributes or resourceAttributes must be specified")
    } else if spec.user.as_ref().is_none_or(String::is_empty) && spec.groups.iter().flatten().next().is_none()
    {
        Some("spec.user: at least one of user or group must be specified")
    } else {
        None
    };
    if let Some(fault) = fault {
        let message = format!("SubjectAccessReview.authorization.k8s.io \"\" is invalid: {fault}");
        return Err(Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message));
    }
    let reason = grants.reason(spec);
    let allowed = reason.is_some();
    let reason = reason.filter(|reason| !reason.is_empty());
    review.status = Some(SubjectAccessReviewStatus { allowed, reason, ..Default::default() });
    write(&review)
}

/// Whether whoever asks may do something; without a token that is nobody.
pub(crate) fn own_access(grants: &Grants, asker: Option<Identity>, body: &[u8]) -> Result<Value, Status> {
    let mut review: SelfSubjectAccessReview = read(body)?;
    let Identity { username, groups, .. } = asker.unwrap_or_else(|| Identity::user(ANONYMOUS));
    let spec = SubjectAccessReviewSpec {
        user: Some(username),
        groups: Some(groups),
        resource_attributes: review.spec.resource_attributes.clone(),
        non_resource_attributes: review.spec.non_resource_attributes.clone(),
        ..SubjectAccessReviewSpec::default()
    };
    let reason = grants.reason(&spec);
    let allowed = reason.is_some();
    let reason = reason.filter(|reason| !reason.is_empty());
    review.status = Some(SubjectAccessReviewStatus { allowed, reason, ..Default::default() });
    write(&review)
}

/// What a request's body says.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))
}

/// The body of an answer.
pub(crate) fn write(answer: &impl Serialize) -> Result<Value, Status> {
    serde_json::to_value(answer)
        .map_err(|error| Status::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string()))
}
