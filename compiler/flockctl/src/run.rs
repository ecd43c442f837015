//! Asking the compiler and printing its answers.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use flock_proto::MAX_MESSAGE_BYTES;
use flock_proto::v1;
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_shared::NamespaceName;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cli::{Command, Format, Options};
use crate::way::{Credentials, Forward, Route, Way};
use crate::{Program, print};

/// Before a watch that ended is taken up again.
const PAUSE: Duration = Duration::from_secs(1);

type Client = DebugServiceClient<InterceptedService<Channel, Credentials>>;

/// Why there is no answer, or no more of it.
enum Failure {
    /// The compiler's word, or that of the connection to it.
    Asked(Status),
    /// It could not be printed.
    Printed(anyhow::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Asked(status)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Printed(error)
    }
}

/// Does what was asked for.
pub(crate) async fn run(program: Program, options: Options) -> anyhow::Result<()> {
    let Options { command, output, namespace, way } = options;
    let way = Way::find(way).await?;
    let route = way.open().await?;
    let asked = match command {
        Command::Watch { node } => return watch(program, &way, route, &node, output).await,
        Command::Nodes => nodes(program, client(&route), namespace.as_ref(), output).await,
        Command::Problems => problems(client(&route), namespace.as_ref(), output).await,
        Command::Script { node } => script(client(&route), node, output).await,
        Command::Output { node } => self::output(client(&route), node, output).await,
    };
    match asked {
        Ok(()) => Ok(()),
        Err(Failure::Printed(error)) => Err(error),
        Err(Failure::Asked(status)) => Err(explain(&status, route.forward).await),
    }
}

fn client(route: &Route) -> Client {
    DebugServiceClient::with_interceptor(route.channel.clone(), route.credentials.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
}

fn about(namespace: Option<&NamespaceName>) -> v1::ListProblemsRequest {
    v1::ListProblemsRequest { namespace: namespace.map(ToString::to_string).unwrap_or_default() }
}

async fn nodes(
    program: Program,
    mut client: Client,
    namespace: Option<&NamespaceName>,
    format: Format,
) -> Result<(), Failure> {
    let nodes = client.list_nodes(v1::ListNodesRequest {}).await?.into_inner().nodes;
    if format != Format::Table {
        return Ok(print::nodes(&nodes, None, format)?);
    }
    // Who may see nodes need not be allowed to see problems.
    let problems = match client.list_problems(about(namespace)).await {
        Err(status) if status.code() == Code::PermissionDenied => 0,
        answer => answer?.into_inner().problems.len(),
    };
    let scope = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    let hint = format!("{problems} problem(s) in the cluster's objects: {program} problems{scope}");
    Ok(print::nodes(&nodes, (problems > 0).then_some(&*hint), format)?)
}

async fn problems(
    mut client: Client,
    namespace: Option<&NamespaceName>,
    format: Format,
) -> Result<(), Failure> {
    let answer = client.list_problems(about(namespace)).await?.into_inner();
    Ok(print::problems(&answer.problems, format)?)
}

async fn script(mut client: Client, node: String, format: Format) -> Result<(), Failure> {
    let answer = client.get_script(v1::GetScriptRequest { node }).await?.into_inner();
    Ok(print::script(&answer, format)?)
}

async fn output(mut client: Client, node: String, format: Format) -> Result<(), Failure> {
    let answer = client.get_output(v1::GetOutputRequest { node }).await?.into_inner();
    Ok(print::output(answer, format)?)
}

/// Shows the states of a node until that is over. Through a cluster it ends with its token at the latest, and is taken up
/// again with another; a watch that never began is not.
async fn watch(
    program: Program,
    way: &Way,
    mut route: Route,
    node: &str,
    format: Format,
) -> anyhow::Result<()> {
    let mut shown = None;
    loop {
        let mut watched = Watched { shown, begun: false, format };
        let status = match watched.follow(client(&route), node).await {
            Ok(()) => Status::unavailable("the compiler ended the watch"),
            Err(Failure::Asked(status)) => status,
            Err(Failure::Printed(error)) => return Err(error),
        };
        let why = explain(&status, route.forward).await;
        let lasting = status.code() == Code::PermissionDenied || status.code() == Code::NotFound;
        if !watched.begun || lasting || !matches!(way, Way::Cluster(_)) {
            return Err(why);
        }
        // Who does not read this may still read the states.
        drop(writeln!(io::stderr(), "{program}: {why:#}; asking again"));
        tokio::time::sleep(PAUSE).await;
        route = way.open().await.context("the watch cannot go on")?;
        shown = watched.shown;
    }
}

/// A node that is watched.
struct Watched {
    /// What was printed last.
    shown: Option<v1::NodeStatus>,
    /// Whether the compiler has answered.
    begun: bool,
    format: Format,
}

impl Watched {
    async fn follow(&mut self, mut client: Client, node: &str) -> Result<(), Failure> {
        let request = v1::WatchNodeRequest { node: node.to_owned() };
        let mut statuses = client.watch_node(request).await?.into_inner();
        while let Some(status) = statuses.message().await? {
            self.begun = true;
            // One that is taken up again begins with what is known.
            if self.shown.as_ref() != Some(&status) {
                print::status(&status, self.shown.is_none(), self.format)?;
                self.shown = Some(status);
            }
        }
        Ok(())
    }
}

/// The compiler's words, without gRPC's; where a connection through a cluster broke, the reason of that.
async fn explain(status: &Status, forward: Option<Forward>) -> anyhow::Error {
    // What the compiler says has no cause on this side.
    if let (Some(forward), Some(_)) = (forward, status.source())
        && let Some(epitaph) = forward.epitaph().await
    {
        return anyhow!(epitaph);
    }
    if status.message().is_empty() {
        anyhow!(status.clone())
    } else {
        anyhow!("{}", status.message().to_owned())
    }
}
