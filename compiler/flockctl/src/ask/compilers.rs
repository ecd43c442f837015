//! Questions to compilers. What hangs on objects alone any of them answers; what nodes tell each knows of its own nodes, so
//! all are asked, and [`merge`] makes one answer of theirs.

use flock_proto::v1;
use futures::TryStreamExt as _;
use tonic::{Status, Streaming};

use super::merge;
use crate::Program;
use crate::failure::Failure;
use crate::nodes::say;
use crate::replica::{AskClient, Missed, Replicas};
use crate::target::Target;

/// The compilers of a target, connected to.
pub(crate) struct Compilers {
    program: Program,
    pub(super) target: Target,
    pub(super) replicas: Replicas,
}

impl Compilers {
    /// Connects to each.
    ///
    /// # Errors
    /// When none can be reached.
    pub(super) async fn open(program: Program, target: Target) -> Result<Self, Failure> {
        let replicas = target.open().await?;
        Ok(Self { program, target, replicas })
    }

    /// Connects again, as tokens end and replicas go.
    ///
    /// # Errors
    /// When none can be reached.
    pub(super) async fn reopen(&mut self) -> Result<(), Failure> {
        self.replicas = self.target.open().await?;
        Ok(())
    }

    /// What every replica that answers says; who was not asked is said.
    async fn all<T>(
        &mut self,
        question: impl AsyncFn(AskClient) -> Result<T, Status>,
    ) -> Result<Vec<T>, Failure> {
        let (given, failed) = self.replicas.inquire(question).await.any()?;
        // Taken out, to be said once: `wait` and `bundle` ask many questions over the same connections.
        let missed: Vec<String> =
            self.replicas.missed.drain(..).chain(failed).map(|it: Missed| it.to_string()).collect();
        say(self.program, &missed);
        Ok(given.into_iter().map(|(_, answer)| answer).collect())
    }

    pub(super) async fn explain(
        &mut self,
        request: &v1::ExplainRequest,
    ) -> Result<v1::ExplainResponse, Failure> {
        let question = async |mut client: AskClient| Ok(client.explain(request.clone()).await?.into_inner());
        Ok(merge::explanations(self.all(question).await?))
    }

    pub(super) async fn reach(&mut self, request: &v1::ReachRequest) -> Result<Vec<v1::ReachRow>, Failure> {
        self.replicas
            .inquire_any(async |mut client| rows(client.reach(request.clone()).await?.into_inner()).await)
            .await
    }

    pub(super) async fn matrix(
        &mut self,
        request: &v1::MatrixRequest,
    ) -> Result<Vec<v1::MatrixRow>, Failure> {
        self.replicas
            .inquire_any(async |mut client| rows(client.matrix(request.clone()).await?.into_inner()).await)
            .await
    }

    pub(super) async fn list_open(
        &mut self,
        request: &v1::ListOpenRequest,
    ) -> Result<Vec<v1::OpenRow>, Failure> {
        let question =
            async |mut client: AskClient| rows(client.list_open(request.clone()).await?.into_inner()).await;
        self.replicas.inquire_any(question).await
    }

    pub(super) async fn policies(
        &mut self,
        request: &v1::ListPoliciesRequest,
    ) -> Result<Vec<v1::PolicyRow>, Failure> {
        let question = async |mut client: AskClient| {
            rows(client.list_policies(request.clone()).await?.into_inner()).await
        };
        Ok(merge::policies(self.all(question).await?))
    }

    pub(super) async fn preview(
        &mut self,
        request: &v1::PreviewRequest,
    ) -> Result<Vec<v1::PreviewRow>, Failure> {
        self.replicas
            .inquire_any(async |mut client| rows(client.preview(request.clone()).await?.into_inner()).await)
            .await
    }

    pub(super) async fn lint(&mut self, request: &v1::LintRequest) -> Result<Vec<v1::Finding>, Failure> {
        let question =
            async |mut client: AskClient| rows(client.lint(request.clone()).await?.into_inner()).await;
        Ok(merge::findings(self.all(question).await?))
    }

    /// What was dropped until now.
    pub(super) async fn drops(
        &mut self,
        request: &v1::WatchDropsRequest,
    ) -> Result<Vec<v1::DropRow>, Failure> {
        // Whatever was asked for: rows of a stream that goes on never are a list.
        let request = v1::WatchDropsRequest { follow: false, ..request.clone() };
        let question =
            async |mut client: AskClient| rows(client.watch_drops(request.clone()).await?.into_inner()).await;
        Ok(merge::drops(self.all(question).await?))
    }

    /// What was dropped, and what is from here on: a stream of each replica.
    pub(super) async fn follow_drops(
        &mut self,
        request: &v1::WatchDropsRequest,
    ) -> Result<Vec<Streaming<v1::DropRow>>, Failure> {
        let request = v1::WatchDropsRequest { follow: true, ..request.clone() };
        self.all(async |mut client| Ok(client.watch_drops(request.clone()).await?.into_inner())).await
    }

    pub(super) async fn passes(
        &mut self,
        request: &v1::ListPassesRequest,
    ) -> Result<Vec<v1::PassRow>, Failure> {
        let question =
            async |mut client: AskClient| rows(client.list_passes(request.clone()).await?.into_inner()).await;
        Ok(merge::passes(self.all(question).await?))
    }

    pub(super) async fn receipt(&mut self, request: &v1::GetReceiptRequest) -> Result<v1::Receipt, Failure> {
        let question =
            async |mut client: AskClient| Ok(client.get_receipt(request.clone()).await?.into_inner());
        Ok(merge::receipts(self.all(question).await?))
    }
}

async fn rows<T>(stream: Streaming<T>) -> Result<Vec<T>, Status> {
    // All rows or the error: some of them would pass for the whole answer.
    stream.try_collect().await
}
