//! The way to the API server: from a kubeconfig file, the environment, or the service account of a pod.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{AuthInfo, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Longer than a watch may be silent by [`super::WatchSettings::default`]: no response may be silent for longer.
const READ_TIMEOUT: Duration = Duration::from_secs(300);

/// Why there is no way to an API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// No kubeconfig was named and none was found.
    #[error(
        "no cluster is configured: name a kubeconfig file, set KUBECONFIG, or run in a pod with a service account"
    )]
    NotConfigured {
        /// What was tried.
        source: Box<InferConfigError>,
    },
    /// The credentials or certificates cannot be used.
    #[error("cannot set up a client for {url}")]
    Client {
        /// The API server.
        url: String,
        /// What is wrong.
        source: Box<kube::Error>,
    },
}

/// A client by `kubeconfig`, or else by `KUBECONFIG`, `~/.kube/config`, or the service account of this pod. Sends
/// nothing yet.
///
/// # Errors
/// When no configuration is found or it cannot be used.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    client(config(kubeconfig).await?)
}

/// The configuration that [`connect`] goes by.
///
/// # Errors
/// When none is found.
pub async fn config(kubeconfig: Option<&Path>) -> Result<Config, ConnectError> {
    match kubeconfig {
        Some(path) => from_file(path)
            .await
            .map_err(|source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) }),
        None => {
            Config::infer().await.map_err(|source| ConnectError::NotConfigured { source: Box::new(source) })
        }
    }
}

/// A client for the same server that shows no credentials.
///
/// # Errors
/// When the certificates of `config` cannot be used.
pub fn anonymous(mut config: Config) -> Result<Client, ConnectError> {
    config.auth_info = AuthInfo::default();
    client(config)
}

async fn from_file(path: &Path) -> Result<Config, KubeconfigError> {
    Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await
}

/// A client with the time limits that watches need.
///
/// # Errors
/// When the credentials or certificates of `config` cannot be used.
pub fn client(mut config: Config) -> Result<Client, ConnectError> {
    config.read_timeout = Some(READ_TIMEOUT);
    // Every watch repeats its requests itself, with its own pauses.
    config.default_retry = false;
    let url = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ConnectError::Client { url, source: Box::new(source) })
}
