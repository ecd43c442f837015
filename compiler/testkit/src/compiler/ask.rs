//! The service for questions about policy, which answers what the test says.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use flock_proto::v1;
use flock_proto::v1::ask_service_server::AskService;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// What is answered, and what was asked.
#[derive(Debug, Default)]
pub struct AskAnswers {
    /// Each request, as `{:?}` has it.
    pub requests: Mutex<Vec<String>>,
    /// Answers everything, if there is one.
    pub refusal: Mutex<Option<Status>>,
    /// Of `Explain`.
    pub explanation: Mutex<v1::ExplainResponse>,
    /// Of `Reach`.
    pub reach: Mutex<Vec<v1::ReachRow>>,
    /// Of `Matrix`.
    pub matrix: Mutex<Vec<v1::MatrixRow>>,
    /// Of `ListOpen`.
    pub open: Mutex<Vec<v1::OpenRow>>,
    /// Of `ListPolicies`.
    pub policies: Mutex<Vec<v1::PolicyRow>>,
    /// Of `Preview`.
    pub preview: Mutex<Vec<v1::PreviewRow>>,
    /// Of `Lint`.
    pub findings: Mutex<Vec<v1::Finding>>,
    /// Of `WatchDrops`, which ends after them.
    pub drops: Mutex<Vec<v1::DropRow>>,
    /// Of `ListPasses`.
    pub passes: Mutex<Vec<v1::PassRow>>,
    /// Of `GetReceipt`.
    pub receipt: Mutex<v1::Receipt>,
}

pub(super) struct AskServer(pub(super) Arc<AskAnswers>);

type Rows<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl AskServer {
    fn hear<T: std::fmt::Debug>(&self, request: &Request<T>) -> Result<(), Status> {
        self.0.requests.lock().unwrap().push(format!("{:?}", request.get_ref()));
        self.0.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn rows<Q: std::fmt::Debug, T: Clone + Send + 'static>(
        &self,
        request: &Request<Q>,
        rows: &Mutex<Vec<T>>,
    ) -> Result<Response<Rows<T>>, Status> {
        self.hear(request)?;
        let rows = rows.lock().unwrap().clone();
        Ok(Response::new(Box::pin(tokio_stream::iter(rows.into_iter().map(Ok)))))
    }
}

#[tonic::async_trait]
impl AskService for AskServer {
    type ReachStream = Rows<v1::ReachRow>;
    type MatrixStream = Rows<v1::MatrixRow>;
    type ListOpenStream = Rows<v1::OpenRow>;
    type ListPoliciesStream = Rows<v1::PolicyRow>;
    type PreviewStream = Rows<v1::PreviewRow>;
    type LintStream = Rows<v1::Finding>;
    type WatchDropsStream = Rows<v1::DropRow>;
    type ListPassesStream = Rows<v1::PassRow>;

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        self.hear(&request)?;
        Ok(Response::new(self.0.explanation.lock().unwrap().clone()))
    }

    async fn reach(&self, request: Request<v1::ReachRequest>) -> Result<Response<Self::ReachStream>, Status> {
        self.rows(&request, &self.0.reach)
    }

    async fn matrix(
        &self,
        request: Request<v1::MatrixRequest>,
    ) -> Result<Response<Self::MatrixStream>, Status> {
        self.rows(&request, &self.0.matrix)
    }

    async fn list_open(
        &self,
        request: Request<v1::ListOpenRequest>,
    ) -> Result<Response<Self::ListOpenStream>, Status> {
        self.rows(&request, &self.0.open)
    }

    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<Self::ListPoliciesStream>, Status> {
        self.rows(&request, &self.0.policies)
    }

    async fn preview(
        &self,
        request: Request<v1::PreviewRequest>,
    ) -> Result<Response<Self::PreviewStream>, Status> {
        self.rows(&request, &self.0.preview)
    }

    async fn lint(&self, request: Request<v1::LintRequest>) -> Result<Response<Self::LintStream>, Status> {
        self.rows(&request, &self.0.findings)
    }

    async fn watch_drops(
        &self,
        request: Request<v1::WatchDropsRequest>,
    ) -> Result<Response<Self::WatchDropsStream>, Status> {
        self.rows(&request, &self.0.drops)
    }

    async fn list_passes(
        &self,
        request: Request<v1::ListPassesRequest>,
    ) -> Result<Response<Self::ListPassesStream>, Status> {
        self.rows(&request, &self.0.passes)
    }

    async fn get_receipt(
        &self,
        request: Request<v1::GetReceiptRequest>,
    ) -> Result<Response<v1::Receipt>, Status> {
        self.hear(&request)?;
        Ok(Response::new(self.0.receipt.lock().unwrap().clone()))
    }
}
