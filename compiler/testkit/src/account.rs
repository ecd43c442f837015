//! Tokens of service accounts: JWTs with the claims and the identity that a real server gives them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::identity::{API_AUDIENCE, BoundPod, Identity};

/// Who issues the tokens: the server itself.
const ISSUER: &str = API_AUDIENCE;

/// A token of a service account that is to be issued.
#[derive(Debug, Clone)]
pub struct AccountToken {
    namespace: String,
    name: String,
    uid: String,
    audiences: Vec<String>,
    lifetime: Duration,
    node: Option<String>,
    pod: Option<BoundPod>,
}

impl AccountToken {
    /// A token of this account for the server, for an hour.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: "00000000-0000-4000-8000-acc000000000".to_owned(),
            audiences: Vec::new(),
            lifetime: Duration::from_secs(60 * 60),
            node: None,
            pod: None,
        }
    }

    /// The UID of the account.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = uid.into();
        self
    }

    /// For this audience, and those of earlier calls, instead of the server.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Ends after so long.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Bound to a pod of the account's namespace: the token ends with it.
    #[must_use]
    pub fn pod(mut self, name: impl Into<String>, uid: impl Into<String>) -> Self {
        self.pod = Some(BoundPod { namespace: self.namespace.clone(), name: name.into(), uid: uid.into() });
        self
    }

    /// Says on which node its pod runs.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// The token and who is behind it.
    pub(crate) fn sign(&self, now: SystemTime, serial: u64) -> (String, Identity) {
        let id = format!("00000000-0000-4000-8000-70{serial:010}");
        let header = json!({ "alg": "RS256", "kid": "testkit" });
        let parts = [header.to_string(), self.claims(now, &id).to_string(), format!("no signature {id}")];
        let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        (token, self.identity(now, &id))
    }

    fn subject(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    fn claims(&self, now: SystemTime, id: &str) -> Value {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let audiences = if self.audiences.is_empty() { &[API_AUDIENCE.to_owned()] } else { &*self.audiences };
        let mut kubernetes = json!({
            "namespace": self.namespace,
            "serviceaccount": { "name": self.name, "uid": self.uid },
        });
        if let Some(pod) = &self.pod {
            kubernetes["pod"] = json!({ "name": pod.name, "uid": pod.uid });
        }
        if let Some(node) = &self.node {
            kubernetes["node"] = json!({ "name": node });
        }
        json!({
            "aud": audiences,
            "exp": seconds(now + self.lifetime),
            "iat": seconds(now),
            "iss": ISSUER,
            "jti": id,
            "kubernetes.io": kubernetes,
            "nbf": seconds(now),
            "sub": self.subject(),
        })
    }

    fn identity(&self, now: SystemTime, id: &str) -> Identity {
        let mut extra = BTreeMap::from([("credential-id", format!("JTI={id}"))]);
        if let Some(pod) = &self.pod {
            extra.insert("pod-name", pod.name.clone());
            extra.insert("pod-uid", pod.uid.clone());
        }
        if let Some(node) = &self.node {
            extra.insert("node-name", node.clone());
        }
        let extra = extra.into_iter();
        Identity {
            username: self.subject(),
            uid: self.uid.clone(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{}", self.namespace),
            ],
            extra: extra
                .map(|(key, value)| (format!("authentication.kubernetes.io/{key}"), vec![value]))
                .collect(),
            audiences: self.audiences.clone(),
            expires: Some(now + self.lifetime),
            pod: self.pod.clone(),
        }
    }
}
