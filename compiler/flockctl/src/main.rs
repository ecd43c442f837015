//! flockctl: asks the compiler what each node should have, what it has, and why.

mod cli;
mod print;
mod table;
mod view;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use flock_proto::MAX_MESSAGE_BYTES;
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_proto::v1::{
    GetOutputRequest, GetScriptRequest, ListNodesRequest, ListProblemsRequest, WatchNodeRequest,
};
use flock_shared::dial;
use tonic::Status;
use tonic::transport::Channel;

use crate::cli::{Cli, Command, Format};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow!(error).context("cannot start")),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // `flockctl … | head` closes our output: that is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    // Nothing is left to tell if standard error is gone too.
    drop(writeln!(io::stderr(), "flockctl: {error:#}"));
    ExitCode::FAILURE
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let channel = dial::connect(&cli.compiler, None)
        .await
        .with_context(|| format!("cannot reach the compiler at {}", cli.compiler))?;
    let mut client = DebugServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    match cli.command {
        Command::Nodes => {
            let nodes = client.list_nodes(ListNodesRequest {}).await.map_err(explain)?.into_inner().nodes;
            let problems = client
                .list_problems(ListProblemsRequest::default())
                .await
                .map_err(explain)?
                .into_inner()
                .problems;
            print::nodes(&nodes, problems.len(), cli.output)
        }
        Command::Problems => {
            let problems = client
                .list_problems(ListProblemsRequest::default())
                .await
                .map_err(explain)?
                .into_inner()
                .problems;
            print::problems(&problems, cli.output)
        }
        Command::Script { node } => {
            let script = client.get_script(GetScriptRequest { node }).await.map_err(explain)?.into_inner();
            print::script(&script, cli.output)
        }
        Command::Output { node } => {
            let output = client.get_output(GetOutputRequest { node }).await.map_err(explain)?.into_inner();
            print::output(output, cli.output)
        }
        Command::Watch { node } => watch(client, node, cli.output).await,
    }
}

async fn watch(mut client: DebugServiceClient<Channel>, node: String, format: Format) -> anyhow::Result<()> {
    let mut statuses = client.watch_node(WatchNodeRequest { node }).await.map_err(explain)?.into_inner();
    let mut first = true;
    while let Some(status) = statuses.message().await.map_err(explain)? {
        print::status(&status, std::mem::take(&mut first), format)?;
    }
    Err(anyhow!("the compiler ended the watch"))
}

/// The server's words, without gRPC's.
fn explain(status: Status) -> anyhow::Error {
    if status.message().is_empty() { anyhow!(status) } else { anyhow!("{}", status.message().to_owned()) }
}
