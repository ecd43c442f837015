//! A port of a pod, forwarded by the API server, with TLS to the compiler in it.

use std::time::Duration;

use flock_shared::{access, causes, dial};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::transport::Channel;

/// How long the API server may take for the forwarding, which it does not limit.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the reason may take to follow the end.
const AFTERWORD: Duration = Duration::from_millis(500);

/// A forwarded port that a channel goes through.
pub(crate) struct Forward {
    pod: String,
    ended: oneshot::Receiver<End>,
}

/// How a forwarding ended.
enum End {
    /// With these words of the node that the pod is on.
    Told(String),
    /// Without any.
    Closed(String),
}

/// Why a pod was not reached.
pub(crate) enum ForwardError {
    /// The API server refuses.
    Refused(kube::Error),
    /// Perhaps another pod is better.
    Broken(String),
}

/// Opens a channel to the compiler in `pod`, whose certificate must be for `server_name` by an authority of `ca`.
pub(crate) async fn open(
    pods: &Api<Pod>,
    pod: &str,
    server_name: &str,
    ca: &str,
) -> Result<(Channel, Forward), ForwardError> {
    let asked = timeout(PATIENCE, pods.portforward(pod, &[access::PORT])).await;
    let mut forwarder = match asked {
        Ok(Ok(forwarder)) => forwarder,
        // With its status, by which the caller tells a right that is missing for all pods from a fault of this one.
        Ok(Err(error)) => return Err(ForwardError::Refused(error)),
        Err(_) => return Err(ForwardError::Broken(format!("no port-forwarding within {PATIENCE:?}"))),
    };
    let Some(stream) = forwarder.take_stream(access::PORT) else {
        return Err(ForwardError::Broken("the forwarded port is missing".to_owned()));
    };
    let (tell, ended) = oneshot::channel();
    tokio::spawn(async move {
        // Nobody may want to know any more.
        drop(tell.send(end(forwarder).await));
    });
    let mut forward = Forward { pod: pod.to_owned(), ended };
    match dial::connect_over(stream, server_name, ca.as_bytes()).await {
        Ok(channel) => Ok((channel, forward)),
        // TLS tells only that the connection broke; the words of the node, which follow a moment later, tell why.
        Err(error) => Err(ForwardError::Broken(match forward.end().await {
            Some(End::Told(reason)) => reason,
            // Closed because of the error, or not at all.
            _ => causes(&error),
        })),
    }
}

/// Waits for the end of a forwarding.
async fn end(mut forwarder: Portforwarder) -> End {
    let told = match forwarder.take_error(access::PORT) {
        Some(error) => error.await,
        None => None,
    };
    match told {
        Some(error) => End::Told(error),
        None => End::Closed(match timeout(AFTERWORD, forwarder.join()).await {
            Ok(Err(error)) => causes(&error),
            Ok(Ok(())) | Err(_) => "the connection was closed".to_owned(),
        }),
    }
}

impl Forward {
    /// How it has ended, if it has.
    async fn end(&mut self) -> Option<End> {
        timeout(AFTERWORD, &mut self.ended).await.ok()?.ok()
    }

    /// Why it ended, after the channel through it has failed; `None` if it goes on.
    pub(crate) async fn exit_reason(mut self) -> Option<String> {
        let (End::Told(reason) | End::Closed(reason)) = self.end().await?;
        Some(format!("the port-forwarding to pod {} ended: {reason}", self.pod))
    }
}
