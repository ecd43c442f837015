//! The way to the compiler: by its URL, or through the cluster of a kubeconfig as kubectl goes.

mod cluster;
mod error;
mod forward;
mod kubeconfig;
mod pods;

use std::path::PathBuf;

use flock_shared::dial::{self, CompilerUrl, Trust};
use flock_shared::token::BearerToken;
use flock_shared::{NamespaceName, ObjectName, access};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::transport::Channel;
use tonic::{Request, Status};

pub(crate) use cluster::Cluster;
pub(crate) use error::WayError;
pub(crate) use forward::Forward;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Choice {
    Url(Direct),
    Cluster(Through),
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

/// Through a cluster.
#[derive(Debug)]
pub(crate) struct Through {
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
    /// Where the compiler runs.
    pub(crate) namespace: NamespaceName,
    /// Whose token is shown.
    pub(crate) account: ObjectName,
}

/// A way that can be gone, again and again.
pub(crate) enum Way {
    Url(Direct),
    Cluster(Box<Cluster>),
    /// Nobody has said where, and no kubeconfig does: the default URL, and where a kubeconfig was looked for.
    Default(Direct, String),
}

/// An open way.
pub(crate) struct Route {
    pub(crate) channel: Channel,
    pub(crate) credentials: Credentials,
    /// What the channel goes through, if it does.
    pub(crate) forward: Option<Forward>,
}

impl Way {
    /// Finds the way that was asked for. Nothing is dialled yet.
    pub(crate) async fn find(choice: Choice) -> Result<Self, WayError> {
        let through = match choice {
            Choice::Url(direct) => return Ok(Self::Url(direct)),
            Choice::Cluster(through) => through,
        };
        match kubeconfig::find(through.kubeconfig.as_deref(), &kubeconfig::Places::here())? {
            kubeconfig::Found::Config(config) => {
                Ok(Self::Cluster(Box::new(Cluster::new(*config, through).await?)))
            }
            kubeconfig::Found::Nothing { looked } => match through.context {
                Some(context) => Err(WayError::NoKubeconfig { context, looked }),
                None => Ok(Self::Default(Direct::loopback()?, looked)),
            },
        }
    }

    /// Goes it.
    pub(crate) async fn open(&self) -> Result<Route, WayError> {
        match self {
            Self::Url(direct) => direct.open().await,
            Self::Cluster(cluster) => cluster.open().await,
            Self::Default(direct, looked) => direct
                .open()
                .await
                .map_err(|error| WayError::DefaultUrl { looked: looked.clone(), source: Box::new(error) }),
        }
    }
}

impl Direct {
    fn loopback() -> Result<Self, WayError> {
        let text = format!("http://127.0.0.1:{}", access::PORT);
        let url = text.parse().map_err(|source| WayError::Url { text, source })?;
        Ok(Self { url, trust: None, token_file: None })
    }

    async fn open(&self) -> Result<Route, WayError> {
        let credentials = match self.token_file.as_deref().filter(|_| !self.url.is_plaintext()) {
            Some(path) => {
                let token = BearerToken::read(path)
                    .map_err(|source| WayError::TokenFile { path: path.to_owned(), source })?;
                Credentials::new(&token)
            }
            None => Credentials(None),
        };
        let channel = dial::connect(&self.url, self.trust.as_ref()).await;
        let channel = channel.map_err(|source| WayError::Dial { url: self.url.clone(), source })?;
        Ok(Route { channel, credentials, forward: None })
    }
}

/// What says to the compiler who asks, with every request.
#[derive(Clone)]
pub(crate) struct Credentials(Option<AsciiMetadataValue>);

impl Credentials {
    fn new(token: &BearerToken) -> Self {
        Self(Some(token.authorization()))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}
