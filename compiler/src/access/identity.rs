//! What a review says of a token: who it is of, until when, and which node its pod is on.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use flock_shared::NodeName;
use flock_shared::token::BearerToken;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;

use super::account::ServiceAccount;
use super::denied::Denied;

/// Where the API server says which node a token's pod is on (Kubernetes 1.30 and later).
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Characters of the API server's words that are passed on.
const REASON_LIMIT: usize = 300;

/// Whom the API server takes the bearer of a token for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) username: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
    /// When the token says that it ends. Worth believing only because the API server vouches for the token.
    pub(super) expires: Option<SystemTime>,
}

impl Identity {
    /// Whose token it is, if the API server vouches for it and for `audience`, if one is asked for.
    pub(super) fn new(
        status: TokenReviewStatus,
        token: &BearerToken,
        audience: Option<&str>,
    ) -> Result<Self, Denied> {
        let user = match (status.authenticated, status.user) {
            (Some(true), Some(user)) => user,
            _ => {
                let reason = status.error.filter(|error| !error.is_empty());
                let reason = reason.unwrap_or_else(|| "it is not valid, or not any more".to_owned());
                return Err(Denied::NotAuthenticated { reason: bounded(&reason) });
            }
        };
        // An authenticator that knows no audiences returns none, whatever the token is for.
        if let Some(audience) = audience
            && !status.audiences.unwrap_or_default().iter().any(|returned| returned == audience)
        {
            return Err(Denied::WrongAudience { audience: audience.to_owned() });
        }
        Ok(Self {
            username: user.username.unwrap_or_default(),
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
            expires: expiry(token),
        })
    }

    /// The node that the agent with this identity serves.
    pub(super) fn node(&self, agents: &ServiceAccount) -> Result<NodeName, Denied> {
        if self.username != agents.username() {
            return Err(Denied::NotTheAgent { username: self.username.clone(), expected: agents.clone() });
        }
        // By the API server's word, not by the token's claims or by what the agent says of itself.
        let names = self.extra.get(NODE_NAME).map(Vec::as_slice).unwrap_or_default();
        match names {
            [name] => NodeName::new(name.as_str()).map_err(|_| 0),
            names => Err(names.len()),
        }
        .map_err(|found| Denied::NoNode { username: self.username.clone(), found })
    }
}

/// A bounded line of somebody else's words.
pub(super) fn bounded(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(REASON_LIMIT).collect()
}

/// The claim `exp` of a JSON web token (RFC 7519), in seconds since 1970; `None` if the token is something else.
fn expiry(token: &BearerToken) -> Option<SystemTime> {
    // The signature is not checked: only a token that the API server has vouched for comes here.
    let payload = token.secret().split('.').nth(1)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let seconds = claims.get("exp")?.as_u64()?;
    // The claim may be any number.
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn token() -> BearerToken {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1000,"aud":["flock-netpol"]}"#);
        BearerToken::new(&format!("e30.{claims}.c2ln")).unwrap()
    }

    fn status(nodes: &[&str]) -> TokenReviewStatus {
        let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec!["flock-netpol".to_owned()]),
            user: Some(UserInfo {
                username: Some("system:serviceaccount:flock-system:agent".to_owned()),
                extra: Some([(NODE_NAME.to_owned(), nodes)].into()),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    fn identify(status: TokenReviewStatus) -> Result<Identity, Denied> {
        Identity::new(status, &token(), Some("flock-netpol"))
    }

    #[test]
    fn an_agent_serves_the_node_of_its_pod() {
        let agents: ServiceAccount = "flock-system/agent".parse().unwrap();
        let identity = identify(status(&["n1"])).unwrap();
        assert_eq!(identity.node(&agents).unwrap().as_str(), "n1");
        assert_eq!(identity.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)));
        for nodes in [&[][..], &["n1", "n2"], &["N 1"]] {
            let denied = identify(status(nodes)).unwrap().node(&agents).unwrap_err();
            assert_eq!(denied.kind(), "no_node", "{nodes:?}");
        }
        let others: ServiceAccount = "other/agent".parse().unwrap();
        assert_eq!(identity.node(&others).unwrap_err().kind(), "not_the_agent");
    }

    #[test]
    fn what_the_api_server_does_not_vouch_for_is_refused() {
        let kind = |status| identify(status).unwrap_err().kind();
        assert_eq!(kind(TokenReviewStatus::default()), "not_authenticated");
        assert_eq!(
            kind(TokenReviewStatus { authenticated: Some(false), ..status(&[]) }),
            "not_authenticated"
        );
        assert_eq!(kind(TokenReviewStatus { user: None, ..status(&[]) }), "not_authenticated");
        assert_eq!(kind(TokenReviewStatus { audiences: None, ..status(&[]) }), "wrong_audience");
        let others = Some(vec!["https://kubernetes.default.svc".to_owned()]);
        assert_eq!(kind(TokenReviewStatus { audiences: others, ..status(&[]) }), "wrong_audience");
    }

    #[test]
    fn tokens_that_are_no_jwt_have_no_end_of_their_own() {
        for text in ["opaque", "a.b.c", "e30.e30.x", "..", "e30.bnVsbA.x"] {
            assert_eq!(expiry(&BearerToken::new(text).unwrap()), None, "{text}");
        }
    }
}
