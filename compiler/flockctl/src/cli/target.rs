//! The options that say where the compiler is.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use flock_shared::dial::{CompilerUrl, Trust};
use flock_shared::{NamespaceName, ObjectName, access};

use crate::target::{Choice, ClusterOptions, Direct};

#[derive(Debug, Args)]
#[command(next_help_heading = "The way to the compiler")]
pub(super) struct TargetOptions {
    /// Where the compiler serves gRPC: http:// on loopback, or https://; of several replicas each, with commas. Without it the
    /// cluster of the kubeconfig is asked for the way; without a kubeconfig either, it is http://127.0.0.1:7443
    #[arg(long, global = true, env = "FLOCK_COMPILER", value_name = "URL", value_delimiter = ',')]
    compiler: Vec<CompilerUrl>,
    /// The certificates of the compiler's authorities, PEM, for https://
    #[arg(long, global = true, env = "FLOCK_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The token that is shown to the compiler over https://
    #[arg(long, global = true, env = "FLOCK_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name that the compiler's certificate is for, if it is not the host of the URL
    #[arg(long, global = true, env = "FLOCK_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
    /// The kubeconfig; without it $KUBECONFIG, or ~/.kube/config
    #[arg(long, global = true, env = "FLOCK_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it the current one
    #[arg(long, global = true, env = "FLOCK_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// The namespace that the compiler runs in
    #[arg(
        long,
        global = true,
        env = "FLOCK_COMPILER_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = access::NAMESPACE
    )]
    compiler_namespace: NamespaceName,
    /// The ServiceAccount there whose token is shown to the compiler
    #[arg(
        long,
        global = true,
        env = "FLOCK_SERVICE_ACCOUNT",
        value_name = "NAME",
        default_value = access::CLIENT_ACCOUNT
    )]
    service_account: ObjectName,
}

/// Returns true if an option was typed, and is not from the environment.
pub(super) fn by_hand(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
}

impl TargetOptions {
    /// Nobody is asked, but files are read.
    pub(super) fn none(
        &self,
        matches: &ArgMatches,
        manifests: Vec<PathBuf>,
    ) -> Result<Vec<PathBuf>, clap::Error> {
        let ways = ["compiler", "kubeconfig", "context"];
        // Only what was typed: the environment is set for all commands.
        match ways.into_iter().find(|option| by_hand(matches, option)) {
            None => Ok(manifests),
            Some(option) => Err(clap::Error::raw(
                ErrorKind::ArgumentConflict,
                format!(
                    "--manifests PATH is asked in place of a cluster, and --{option} says which cluster is"
                ),
            )),
        }
    }

    /// By URL or through a cluster. Options of both contradict each other; one that was typed beats one of the environment.
    pub(super) fn choose(self, matches: &ArgMatches) -> Result<Choice, clap::Error> {
        let conflict = |message: String| Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        let typed = |options: &[&'static str]| options.iter().copied().find(|it| by_hand(matches, it));
        let cluster = self.kubeconfig.is_some() || self.context.is_some();
        let of_cluster = typed(&["kubeconfig", "context"]);
        let by_url = match self.compiler.first() {
            // Where both were typed, or neither was, none beats the other.
            Some(_) if cluster && by_hand(matches, "compiler") == of_cluster.is_some() => {
                let option = if self.context.is_some() { "context" } else { "kubeconfig" };
                return conflict(format!("--compiler URL and --{option} are two ways to the compiler"));
            }
            Some(_) => of_cluster.is_none(),
            None => false,
        };
        if by_url {
            // Those of the environment are passed over, as it may be set for either way.
            if let Some(option) = typed(&["compiler_namespace", "service_account"]) {
                let option = option.replace('_', "-");
                return conflict(format!(
                    "--{option} is for the way through the cluster, without --compiler URL"
                ));
            }
            let Self { compiler, ca_file, server_name, token_file, .. } = self;
            let direct = |url| direct(url, ca_file.clone(), server_name.clone(), token_file.clone());
            return compiler.into_iter().map(direct).collect::<Result<_, _>>().map(Choice::Urls);
        }
        if let Some(option) = typed(&["ca_file", "token_file", "server_name"]) {
            let option = option.replace('_', "-");
            return conflict(format!("--{option} is for --compiler https://HOST:PORT"));
        }
        let Self { kubeconfig, context, compiler_namespace: namespace, service_account: account, .. } = self;
        Ok(Choice::Cluster(ClusterOptions { kubeconfig, context, namespace, account }))
    }
}

fn direct(
    url: CompilerUrl,
    ca_file: Option<PathBuf>,
    server_name: Option<String>,
    token_file: Option<PathBuf>,
) -> Result<Direct, clap::Error> {
    let trust = ca_file.map(|ca_file| Trust { ca_file, server_name });
    if trust.is_none() && !url.is_plaintext() {
        let message =
            format!("--compiler {url} needs --ca-file FILE, to know the compiler by its certificate");
        return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message));
    }
    Ok(Direct { url, trust, token_file })
}
