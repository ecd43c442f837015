//! A compiler behind TLS whose every word is the test's.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use flock_proto::v1;
use flock_proto::v1::debug_service_server::{DebugService, DebugServiceServer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// What the certificate is for.
pub(crate) const NAME: &str = "flock-compiler.flock-system.svc";

/// It ends when this is dropped.
pub(crate) struct FakeCompiler {
    pub(crate) address: SocketAddr,
    /// The certificate of its authority.
    pub(crate) ca: String,
    pub(crate) said: Arc<Said>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// What it was told, and what it answers.
pub(crate) struct Said {
    /// The `authorization` of each request.
    pub(crate) authorizations: Mutex<Vec<String>>,
    /// The namespace of each request for problems.
    pub(crate) namespaces: Mutex<Vec<String>>,
    /// Answers everything, if there is one.
    pub(crate) refusal: Mutex<Option<Status>>,
    /// What a watch shows.
    pub(crate) revision: watch::Sender<String>,
}

impl FakeCompiler {
    pub(crate) async fn start() -> Self {
        let (ca, certificate, key) = certificates();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let said = Arc::new(Said {
            authorizations: Mutex::default(),
            namespaces: Mutex::default(),
            refusal: Mutex::default(),
            revision: watch::channel("0".repeat(32)).0,
        });
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        let server = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(DebugServiceServer::new(Service(Arc::clone(&said))))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self { address, ca, said, serving: tokio::spawn(server) }
    }
}

impl Drop for FakeCompiler {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Of an authority; of the compiler by it, with its key.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (ca, leaf.pem(), key.serialize_pem())
}

struct Service(Arc<Said>);

impl Service {
    fn hear<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let header = request.metadata().get("authorization");
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        self.0.authorizations.lock().unwrap().push(header.unwrap_or_default());
        self.0.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

fn status(revision: &str) -> v1::NodeStatus {
    v1::NodeStatus {
        node: "n1".to_owned(),
        desired_revision: revision.to_owned(),
        ..v1::NodeStatus::default()
    }
}

type Statuses = Pin<Box<dyn Stream<Item = Result<v1::NodeStatus, Status>> + Send>>;

#[tonic::async_trait]
impl DebugService for Service {
    type WatchNodeStream = Statuses;

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        self.hear(&request)?;
        let nodes = vec![status(&self.0.revision.borrow())];
        Ok(Response::new(v1::ListNodesResponse { nodes }))
    }

    async fn list_problems(
        &self,
        request: Request<v1::ListProblemsRequest>,
    ) -> Result<Response<v1::ListProblemsResponse>, Status> {
        self.hear(&request)?;
        let namespace = request.into_inner().namespace;
        self.0.namespaces.lock().unwrap().push(namespace.clone());
        if namespace == "forbidden" {
            return Err(Status::permission_denied(
                "user \"alice\" cannot get resource \"policyexplanations\"",
            ));
        }
        let problem = v1::Problem { object: "NetworkPolicy shop/web".to_owned(), ..v1::Problem::default() };
        Ok(Response::new(v1::ListProblemsResponse { problems: vec![problem] }))
    }

    async fn get_script(
        &self,
        request: Request<v1::GetScriptRequest>,
    ) -> Result<Response<v1::GetScriptResponse>, Status> {
        self.hear(&request)?;
        let script = "add table inet flock_netpol\n".into();
        Ok(Response::new(v1::GetScriptResponse { script, ..v1::GetScriptResponse::default() }))
    }

    async fn get_output(
        &self,
        request: Request<v1::GetOutputRequest>,
    ) -> Result<Response<v1::GetOutputResponse>, Status> {
        self.hear(&request)?;
        Ok(Response::new(v1::GetOutputResponse::default()))
    }

    async fn watch_node(&self, request: Request<v1::WatchNodeRequest>) -> Result<Response<Statuses>, Status> {
        self.hear(&request)?;
        let revisions = WatchStream::new(self.0.revision.subscribe());
        Ok(Response::new(Box::pin(revisions.map(|revision| Ok(status(&revision))))))
    }
}
