//! Why the compiler cannot be reached, and what to do about it.

use std::path::PathBuf;

use flock_shared::access;
use flock_shared::dial::{CompilerUrl, DialError, UrlError};
use flock_shared::token::TokenError;
use flock_shared::{NamespaceName, ObjectName};

use crate::failure::{Failure, Kind};

/// Why the compiler cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// A URL of our own making.
    #[error("{text}")]
    Url { text: String, source: UrlError },
    #[error("token file {}", path.display())]
    TokenFile { path: PathBuf, source: TokenError },
    #[error("cannot reach the compiler at {url}")]
    Dial { url: CompilerUrl, source: DialError },
    /// Each of several.
    #[error("no compiler can be reached: {}", tried.join("; "))]
    Urls { tried: Vec<String> },
    #[error("no kubeconfig ({looked}), so the compiler is expected on this machine")]
    DefaultUrl { looked: String, source: Box<TargetError> },

    #[error("--context {context} needs a kubeconfig, and there is none ({looked})")]
    NoKubeconfig { context: String, looked: String },
    /// The words hold the cause.
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(String),
    #[error("the kubeconfig has no context {name:?}; {}", known_contexts(known))]
    UnknownContext { name: String, known: Vec<String> },
    #[error(
        "the kubeconfig names no current context; --context NAME chooses one, and {}",
        known_contexts(known)
    )]
    NoContext { known: Vec<String> },

    #[error("cannot {what}: {reason}")]
    Request { what: String, reason: String },
    #[error(
        "cannot {what}: the API server does not accept the credentials of context {context:?}; \
         does `kubectl --context {context} get ns` work?"
    )]
    Unauthorized { what: String, context: String },
    #[error("cannot {what}: {message}; what a role has to grant in namespace {namespace}: {rule}")]
    Forbidden { what: String, namespace: NamespaceName, message: String, rule: RoleRule },
    #[error(
        "no pod of the compiler in namespace {namespace} of context {context:?}: none has the label {}; \
         --compiler-namespace NAMESPACE says where it is",
        super::pods::LABEL
    )]
    NoPod { namespace: NamespaceName, context: String },
    #[error(
        "no pod of the compiler is ready in namespace {namespace}: {}; `kubectl -n {namespace} describe pod` says why",
        pods.join(", ")
    )]
    NoReadyPod { namespace: NamespaceName, pods: Vec<String> },
    #[error(
        "ConfigMap {namespace}/{} is missing: the compiler writes its authorities there once it serves TLS, \
         and it cannot be told from an impostor without",
        access::CA_CONFIG_MAP
    )]
    NoAuthorities { namespace: NamespaceName },
    #[error(
        "ConfigMap {namespace}/{} holds no {:?}, the certificates of the compiler's authorities",
        access::CA_CONFIG_MAP,
        access::CA_KEY
    )]
    NoCaKey { namespace: NamespaceName },
    #[error(
        "ServiceAccount {namespace}/{account} is missing, whose token the compiler is shown; \
         create it, or name another one with --service-account NAME"
    )]
    NoAccount { namespace: NamespaceName, account: ObjectName },
    #[error("the token of ServiceAccount {namespace}/{account}")]
    Token { namespace: NamespaceName, account: ObjectName, source: TokenError },
    #[error("cannot reach the compiler through the cluster: {}", tried.join("; "))]
    Forward { tried: Vec<String> },
}

/// A rule of a role, as a manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleRule {
    pub(super) resource: &'static str,
    /// `None`: all of them.
    pub(super) name: Option<String>,
    pub(super) verbs: &'static str,
}

impl std::fmt::Display for RoleRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{apiGroups: [\"\"], resources: [{}]", self.resource)?;
        if let Some(name) = &self.name {
            write!(f, ", resourceNames: [{name}]")?;
        }
        write!(f, ", verbs: [{}]}}", self.verbs)
    }
}

fn known_contexts(known: &[String]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self { kind: Kind::Unreachable, error: error.into() }
    }
}
