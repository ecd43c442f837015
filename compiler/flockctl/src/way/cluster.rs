//! Through the cluster, as `kubectl port-forward` goes: a ready pod of the compiler, the certificates of its
//! authorities, a token for its audience, and TLS through a forwarded port. The API server is trusted with all of it but
//! the requests.

use flock_shared::token::BearerToken;
use flock_shared::{NamespaceName, ObjectName, access};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};

use super::error::{Rule, WayError, words};
use super::forward::{self, Failure};
use super::pods::{self, LABEL};
use super::{Credentials, Route, Through, kubeconfig};

/// How long a token is asked for: the least that an API server issues.
const LIFETIME_SECONDS: i64 = 10 * 60;

/// A cluster in which the compiler runs.
pub(crate) struct Cluster {
    client: Client,
    context: String,
    namespace: NamespaceName,
    account: ObjectName,
}

impl Cluster {
    /// The cluster of a context.
    pub(super) async fn new(kubeconfig: Kubeconfig, through: Through) -> Result<Self, WayError> {
        let Through { context, namespace, account, .. } = through;
        let (config, context) = kubeconfig::context(kubeconfig, context).await?;
        let client = Client::try_from(config).map_err(|error| WayError::Request {
            what: format!("use context {context:?}"),
            reason: words(&error),
        })?;
        Ok(Self { client, context, namespace, account })
    }

    /// Goes to a ready pod, the first by name that can be reached.
    pub(super) async fn open(&self) -> Result<Route, WayError> {
        let (pods, ca, token) = tokio::join!(self.ready_pods(), self.authorities(), self.token());
        let (ready, ca, token) = (pods?, ca?, token?);
        let server_name = format!("{}.{}.svc", access::SERVICE, self.namespace);
        let pods = self.api::<Pod>();
        let mut tried = Vec::new();
        for pod in ready {
            let reason = match forward::open(&pods, &pod, &server_name, &ca).await {
                Ok((channel, forward)) => {
                    let credentials = Credentials::new(&token);
                    return Ok(Route { channel, credentials, forward: Some(forward) });
                }
                Err(Failure::Broken(reason)) => reason,
                Err(Failure::Refused(error)) => {
                    let what = format!("forward a port of pod {}/{pod}", self.namespace);
                    let rule = Rule { resource: "pods/portforward", name: None, verbs: "get, create" };
                    match self.refused(what, rule, error) {
                        WayError::Request { reason, .. } => reason,
                        // The next pod would be refused as well.
                        error => return Err(error),
                    }
                }
            };
            tried.push(format!("pod {}/{pod}: {reason}", self.namespace));
        }
        Err(WayError::Forward { tried })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace.as_str())
    }

    async fn ready_pods(&self) -> Result<Vec<String>, WayError> {
        let listed = self.api::<Pod>().list(&ListParams::default().labels(LABEL)).await;
        let what = || format!("list the pods of namespace {}", self.namespace);
        let listed = listed.map_err(|error| {
            self.refused(what(), Rule { resource: "pods", name: None, verbs: "list" }, error)
        })?;
        let (namespace, context) = (self.namespace.clone(), self.context.clone());
        pods::ready(&listed.items).map_err(|states| match states.is_empty() {
            true => WayError::NoPod { namespace, context },
            false => WayError::NoReadyPod { namespace, pods: states },
        })
    }

    /// The certificates of the compiler's authorities.
    async fn authorities(&self) -> Result<String, WayError> {
        let what = || format!("read ConfigMap {}/{}", self.namespace, access::CA_CONFIG_MAP);
        let rule = || {
            let name = Some(access::CA_CONFIG_MAP.to_owned());
            Rule { resource: "configmaps", name, verbs: "get" }
        };
        let map = self.api::<ConfigMap>().get_opt(access::CA_CONFIG_MAP).await;
        let map = map.map_err(|error| self.refused(what(), rule(), error))?;
        let namespace = || self.namespace.clone();
        let data = map.ok_or_else(|| WayError::NoAuthorities { namespace: namespace() })?.data;
        let ca = data.and_then(|mut data| data.remove(access::CA_KEY)).filter(|ca| !ca.trim().is_empty());
        ca.ok_or_else(|| WayError::NoCaKey { namespace: namespace() })
    }

    /// A token of the account for the compiler, which is of no use to anybody else.
    async fn token(&self) -> Result<BearerToken, WayError> {
        let spec = TokenRequestSpec {
            audiences: vec![access::AUDIENCE.to_owned()],
            expiration_seconds: Some(LIFETIME_SECONDS),
            bound_object_ref: None,
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let (namespace, account) = (self.namespace.clone(), self.account.clone());
        let accounts = self.api::<ServiceAccount>();
        let answer = accounts.create_token_request(account.as_str(), &PostParams::default(), &request).await;
        let answer = answer.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                WayError::NoAccount { namespace: namespace.clone(), account: account.clone() }
            }
            error => {
                let what = format!("get a token of ServiceAccount {namespace}/{account}");
                let name = Some(account.to_string());
                self.refused(what, Rule { resource: "serviceaccounts/token", name, verbs: "create" }, error)
            }
        })?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        BearerToken::new(&token).map_err(|source| WayError::Token { namespace, account, source })
    }

    /// Why the API server did not do what it was asked for.
    fn refused(&self, what: String, rule: Rule, error: kube::Error) -> WayError {
        match error {
            kube::Error::Api(status) if status.code == 401 => {
                WayError::Unauthorized { what, context: self.context.clone() }
            }
            kube::Error::Api(status) if status.code == 403 => {
                WayError::Forbidden { what, namespace: self.namespace.clone(), message: status.message, rule }
            }
            kube::Error::Api(status) => WayError::Request { what, reason: status.message },
            error => WayError::Request { what, reason: words(&error) },
        }
    }
}
