//! How the compiler is reached: by its URL, or through the cluster of a kubeconfig as kubectl goes.

mod cluster;
mod error;
mod kubeconfig;
mod pods;

use std::collections::BTreeSet;
use std::path::PathBuf;

use flock_shared::dial::{self, CompilerUrl, Trust};
use flock_shared::token::BearerToken;
use flock_shared::{NamespaceName, ObjectName, access, causes};
use futures::future::join_all;

use crate::replica::{Credentials, Missed, Replica, Replicas, Total};

pub(crate) use cluster::Cluster;
pub(crate) use error::TargetError;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Choice {
    /// Of each replica.
    Urls(Vec<Direct>),
    Cluster(ClusterOptions),
}

/// By the compiler's URL.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) url: CompilerUrl,
    /// For TLS.
    pub(crate) trust: Option<Trust>,
    /// Shown over TLS only.
    pub(crate) token_file: Option<PathBuf>,
}

/// What is needed to reach the compiler through a cluster.
#[derive(Debug)]
pub(crate) struct ClusterOptions {
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
    /// Where the compiler runs.
    pub(crate) namespace: NamespaceName,
    /// Whose token is shown.
    pub(crate) account: ObjectName,
}

/// Where the compiler is. Connections are opened to it again and again.
pub(crate) enum Target {
    Urls(Vec<Direct>),
    Cluster(Box<Cluster>),
    /// Nobody has said where, and no kubeconfig does: the default URL, and where a kubeconfig was looked for.
    Default(Direct, String),
}

impl Target {
    /// Finds the target that was asked for. Nothing is dialled yet.
    pub(crate) async fn find(choice: Choice) -> Result<Self, TargetError> {
        let options = match choice {
            Choice::Urls(urls) => return Ok(Self::Urls(urls)),
            Choice::Cluster(options) => options,
        };
        match kubeconfig::find(options.kubeconfig.as_deref(), &kubeconfig::Places::here())? {
            kubeconfig::Found::Config(config) => {
                Ok(Self::Cluster(Box::new(Cluster::new(*config, options).await?)))
            }
            kubeconfig::Found::Nothing { looked } => match options.context {
                // Who names a context means a cluster, and not whatever listens on loopback.
                Some(context) => Err(TargetError::NoKubeconfig { context, looked }),
                None => Ok(Self::Default(Direct::loopback()?, looked)),
            },
        }
    }

    /// Connects to each replica.
    ///
    /// # Errors
    /// When none can be reached.
    pub(crate) async fn open(&self) -> Result<Replicas, TargetError> {
        self.open_others(&BTreeSet::new()).await
    }

    /// Connects to each replica that is not in `but`, which holds those that are reached already.
    ///
    /// # Errors
    /// When none can be reached, and `but` is empty.
    pub(crate) async fn open_others(&self, but: &BTreeSet<String>) -> Result<Replicas, TargetError> {
        match self {
            Self::Urls(urls) => open_urls(urls, but).await,
            Self::Cluster(cluster) => cluster.open(but).await,
            Self::Default(direct, looked) => {
                let opened = open_urls(std::slice::from_ref(direct), but).await;
                opened.map_err(|error| TargetError::DefaultUrl {
                    looked: looked.clone(),
                    source: Box::new(error),
                })
            }
        }
    }

    /// What asks the API server with the user's own rights; by a compiler's URL, that of the kubeconfig's current context.
    /// The inner error: there is no kubeconfig, and where it was looked for.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(crate) async fn api(&self) -> Result<Result<kube::Client, String>, TargetError> {
        if let Self::Cluster(cluster) = self {
            return Ok(Ok(cluster.client().clone()));
        }
        match kubeconfig::find(None, &kubeconfig::Places::here())? {
            kubeconfig::Found::Nothing { looked } => Ok(Err(looked)),
            kubeconfig::Found::Config(config) => {
                let (config, context) = kubeconfig::context(*config, None).await?;
                let client = kube::Client::try_from(config).map_err(|error| TargetError::Request {
                    what: format!("use context {context:?}"),
                    reason: causes(&error),
                })?;
                Ok(Ok(client))
            }
        }
    }

    /// Returns true if what has ended may be taken up again: with another replica, or with another token.
    pub(crate) const fn goes_on(&self) -> bool {
        match self {
            Self::Urls(urls) => urls.len() > 1,
            Self::Cluster(_) => true,
            Self::Default(..) => false,
        }
    }
}

async fn open_urls(urls: &[Direct], but: &BTreeSet<String>) -> Result<Replicas, TargetError> {
    let mut replicas = Replicas::none_of(Total::Named(urls.len()));
    let wanted = urls.iter().filter(|direct| !but.contains(&direct.url.to_string()));
    let mut first = None;
    for (name, opened) in join_all(wanted.map(async |it| (it.url.to_string(), it.open().await))).await {
        match opened {
            Ok(replica) => replicas.open.push(replica),
            Err(error) => {
                replicas.missed.push(Missed { name, reason: causes(&error) });
                first.get_or_insert(error);
            }
        }
    }
    match first {
        // Of one there is no more to say than its own words; of several each is named.
        Some(error) if replicas.open.is_empty() && but.is_empty() => match replicas.missed.len() {
            1 => Err(error),
            _ => Err(TargetError::Urls { tried: replicas.missed.into_iter().map(|it| it.reason).collect() }),
        },
        _ => Ok(replicas),
    }
}

impl Direct {
    fn loopback() -> Result<Self, TargetError> {
        let text = format!("http://127.0.0.1:{}", access::PORT);
        let url = text.parse().map_err(|source| TargetError::Url { text, source })?;
        Ok(Self { url, trust: None, token_file: None })
    }

    async fn open(&self) -> Result<Replica, TargetError> {
        let credentials = match self.token_file.as_deref().filter(|_| !self.url.is_plaintext()) {
            Some(path) => {
                // Read for each connection: tokens in files are renewed while this runs.
                let token = BearerToken::read(path)
                    .map_err(|source| TargetError::TokenFile { path: path.to_owned(), source })?;
                Credentials::new(&token)
            }
            None => Credentials::none(),
        };
        let channel = dial::connect(&self.url, self.trust.as_ref()).await;
        let channel = channel.map_err(|source| TargetError::Dial { url: self.url.clone(), source })?;
        Ok(Replica::new(self.url.to_string(), channel, credentials, None))
    }
}
