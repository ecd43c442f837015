//! Through the cluster, as `kubectl port-forward` goes: each ready pod of the compiler, the certificates of its
//! authorities, a token for its audience, and TLS through a forwarded port. The API server is trusted with all of it but
//! the requests.

use std::collections::BTreeSet;

use flock_shared::token::BearerToken;
use flock_shared::{NamespaceName, ObjectName, access, causes};
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};

use super::error::{RoleRule, TargetError};
use super::pods::{self, LABEL, Running};
use super::{ClusterOptions, kubeconfig};
use crate::forward::{self, ForwardError};
use crate::replica::{Credentials, Missed, Replica, Replicas, Total};

/// How long a token is asked for: the least that an API server issues.
const LIFETIME_SECONDS: i64 = 10 * 60;

/// So many pods are gone to at once.
const AT_ONCE: usize = 8;

/// A cluster in which the compiler runs.
pub(crate) struct Cluster {
    client: Client,
    context: String,
    namespace: NamespaceName,
    account: ObjectName,
}

impl Cluster {
    /// The cluster of a context.
    pub(super) async fn new(kubeconfig: Kubeconfig, options: ClusterOptions) -> Result<Self, TargetError> {
        let ClusterOptions { context, namespace, account, .. } = options;
        let (config, context) = kubeconfig::context(kubeconfig, context).await?;
        let client = Client::try_from(config).map_err(|error| TargetError::Request {
            what: format!("use context {context:?}"),
            reason: causes(&error),
        })?;
        Ok(Self { client, context, namespace, account })
    }

    /// What asks its API server.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Where the compiler runs, or is to run.
    pub(crate) const fn namespace(&self) -> &NamespaceName {
        &self.namespace
    }

    /// Goes to each ready pod that is not in `but`.
    pub(super) async fn open(&self, but: &BTreeSet<String>) -> Result<Replicas, TargetError> {
        // At first some pod is ready in all likelihood, and all is asked at once. Later searches mostly find nobody
        // new, and then need no token.
        let (pods, trust) = if but.is_empty() {
            // Not `try_join`: which of several failures is told must not depend on which came first.
            let (pods, ca, token) = tokio::join!(self.running_pods(), self.authorities(), self.token());
            (pods?, Some((ca?, token?)))
        } else {
            (self.running_pods().await?, None)
        };
        // Who is not ready counts: it may have streams of before, of which nothing is known then.
        let total = pods.ready.len() + pods.unready.len();
        let mut replicas = Replicas::none_of(Total::Running(total));
        let title = |pod: &str| format!("pod {}/{pod}", self.namespace);
        let wanted: Vec<&String> = pods.ready.iter().filter(|pod| !but.contains(*pod)).collect();
        if !wanted.is_empty() {
            let (ca, token) = match trust {
                Some(trust) => trust,
                None => tokio::try_join!(self.authorities(), self.token())?,
            };
            let opening = wanted.into_iter().map(|pod| self.go(pod, &ca, &token));
            for opened in stream::iter(opening).buffered(AT_ONCE).collect::<Vec<_>>().await {
                match opened? {
                    Ok(replica) => replicas.open.push(replica),
                    Err((pod, reason)) => replicas.missed.push(Missed { name: title(&pod), reason }),
                }
            }
        }
        if replicas.open.is_empty() && but.is_empty() {
            let tried =
                replicas.missed.into_iter().map(|Missed { name, reason }| format!("{name}: {reason}"));
            return Err(TargetError::Forward { tried: tried.collect() });
        }
        // Only now: the error above names the pods that were tried.
        let unready = |pod: String| Missed { name: title(&pod), reason: "it is not ready".to_owned() };
        replicas.missed.extend(pods.unready.into_iter().map(unready));
        Ok(replicas)
    }

    /// Goes to one pod; if it cannot be reached, which one it is and why.
    ///
    /// # Errors
    /// When no other pod would be reached either.
    async fn go(
        &self,
        pod: &str,
        ca: &str,
        token: &BearerToken,
    ) -> Result<Result<Replica, (String, String)>, TargetError> {
        // The certificate is for the Service's name, whichever pod shows it.
        let server_name = format!("{}.{}.svc", access::SERVICE, self.namespace);
        let reason = match forward::open(&self.api::<Pod>(), pod, &server_name, ca).await {
            Ok((channel, forward)) => {
                let (name, credentials) = (pod.to_owned(), Credentials::new(token));
                return Ok(Ok(Replica::new(name, channel, credentials, Some(forward))));
            }
            Err(ForwardError::Broken(reason)) => reason,
            Err(ForwardError::Refused(error)) => {
                let what = format!("forward a port of pod {}/{pod}", self.namespace);
                let rule = RoleRule { resource: "pods/portforward", name: None, verbs: "get, create" };
                // What is no matter of rights, such as a pod that is gone, is about this pod alone.
                match self.refused(what, rule, error) {
                    TargetError::Request { reason, .. } => reason,
                    error => return Err(error),
                }
            }
        };
        Ok(Err((pod.to_owned(), reason)))
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace.as_str())
    }

    async fn running_pods(&self) -> Result<Running, TargetError> {
        let listed = self.api::<Pod>().list(&ListParams::default().labels(LABEL)).await;
        let what = || format!("list the pods of namespace {}", self.namespace);
        let listed = listed.map_err(|error| {
            self.refused(what(), RoleRule { resource: "pods", name: None, verbs: "list" }, error)
        })?;
        let (namespace, context) = (self.namespace.clone(), self.context.clone());
        pods::running(&listed.items).map_err(|states| match states.is_empty() {
            true => TargetError::NoPod { namespace, context },
            false => TargetError::NoReadyPod { namespace, pods: states },
        })
    }

    /// The certificates of the compiler's authorities.
    async fn authorities(&self) -> Result<String, TargetError> {
        let what = || format!("read ConfigMap {}/{}", self.namespace, access::CA_CONFIG_MAP);
        let rule = || {
            let name = Some(access::CA_CONFIG_MAP.to_owned());
            RoleRule { resource: "configmaps", name, verbs: "get" }
        };
        let map = self.api::<ConfigMap>().get_opt(access::CA_CONFIG_MAP).await;
        let map = map.map_err(|error| self.refused(what(), rule(), error))?;
        let namespace = || self.namespace.clone();
        let data = map.ok_or_else(|| TargetError::NoAuthorities { namespace: namespace() })?.data;
        let ca = data.and_then(|mut data| data.remove(access::CA_KEY)).filter(|ca| !ca.trim().is_empty());
        ca.ok_or_else(|| TargetError::NoCaKey { namespace: namespace() })
    }

    /// A token of the account for the compiler, which is of no use to anybody else.
    async fn token(&self) -> Result<BearerToken, TargetError> {
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
                TargetError::NoAccount { namespace: namespace.clone(), account: account.clone() }
            }
            error => {
                let what = format!("get a token of ServiceAccount {namespace}/{account}");
                let name = Some(account.to_string());
                self.refused(
                    what,
                    RoleRule { resource: "serviceaccounts/token", name, verbs: "create" },
                    error,
                )
            }
        })?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        BearerToken::new(&token).map_err(|source| TargetError::Token { namespace, account, source })
    }

    /// Why the API server did not do what it was asked for.
    fn refused(&self, what: String, rule: RoleRule, error: kube::Error) -> TargetError {
        match error {
            kube::Error::Api(status) if status.code == 401 => {
                TargetError::Unauthorized { what, context: self.context.clone() }
            }
            kube::Error::Api(status) if status.code == 403 => TargetError::Forbidden {
                what,
                namespace: self.namespace.clone(),
                message: status.message,
                rule,
            },
            kube::Error::Api(status) => TargetError::Request { what, reason: status.message },
            error => TargetError::Request { what, reason: causes(&error) },
        }
    }
}
