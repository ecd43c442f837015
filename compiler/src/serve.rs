//! `flock-compiler serve`: source, engine and servers under one roof. Any of them ending unasked ends the process.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use flock_ask::ServiceAddresses;
use flock_compiler_core::Options;
use flock_shared::shutdown;
use kube::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::access::Access;
use crate::admin::{self, Pages};
use crate::attach::{AttachmentWriter, Store};
use crate::cli::{Serve, Switch};
use crate::drops;
use crate::engine::{Engine, EngineError};
use crate::fleet::Fleet;
use crate::listen::{self, PreAuthLimiter, listen};
use crate::metrics::Metrics;
use crate::policy_events::{Pace, PolicyEvents};
use crate::replicas::Replicas;
use crate::secured::{Protection, Upkeep};
use crate::self_check::{SelfCheck, check_at_start};
use crate::service::{self, Context, Limits, ServeError};
use crate::source::kubernetes::{self, KubernetesSource, ProbeSettings};
use crate::source::manifests::ManifestsSource;
use crate::source::{Source as _, SourceError, SourceEvent};
use flock_convert::HostInterfaces;

/// Events that may wait for the engine; a source that is ahead waits.
const EVENT_QUEUE: usize = 4096;
/// How long open streams may take to end once the process was asked to stop.
const GRACE: Duration = Duration::from_secs(2);

/// The address of the API server's Service, in every pod.
const API_SERVER: &str = "KUBERNETES_SERVICE_HOST";

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When something that should run until then does not.
pub async fn serve(options: Serve) -> anyhow::Result<()> {
    let requested = shutdown::requested().context("cannot listen for signals")?;
    tokio::pin!(requested);
    let files = allow_open_files();
    // Ports first: a process that cannot have them ends before it asks the API server for anything.
    let listener = listen(options.listen).with_context(|| format!("--listen {}", options.listen))?;
    let admin_listener =
        listen(options.admin_listen).with_context(|| format!("--admin-listen {}", options.admin_listen))?;
    tracing::info!(listen = %listener.local_addr()?, admin = %admin_listener.local_addr()?, "listening");

    let secured = [options.listen, options.admin_listen].map(|address| options.is_secured(address));
    let trust = options.interfaces.trust();
    let unready_pods = options.unready.unready_pods;
    let translation = Options { unready_pods, trust, drops: options.dropped.drops, ..Options::default() };
    let (events, incoming) = mpsc::channel(EVENT_QUEUE);
    let host_iface = options.interfaces.host_iface;
    let interfaces = host_iface.to_string();
    // The kubelet tells of the cluster that this process is in; another one may be followed.
    let is_inside = options.manifests.is_none() && options.kubeconfig.is_none();
    let host = std::env::var(API_SERVER).ok().filter(|_| is_inside);
    let services = host.map(|host| ServiceAddresses::of_api_server(&host)).unwrap_or_default();
    let Followed { source, metrics, client } = tokio::select! {
        _ = &mut requested => return Ok(()),
        followed = follow(options.manifests, options.kubeconfig.as_deref(), host_iface, events) => followed?,
    };
    // What serves files does so on loopback only, where one compiler is enough.
    let replicas = match &client {
        Some(_) => Replicas::Pods(options.security.namespace.clone()),
        None => Replicas::Alone,
    };
    let (protection, upkeep) = match client.as_ref().filter(|_| secured.contains(&true)) {
        Some(client) => {
            let (protection, upkeep) = Protection::new(client, options.security, &metrics)?;
            (Some(protection), upkeep)
        }
        None => (None, Box::pin(pending()) as Upkeep),
    };
    let [grpc, admin] = secured.map(|secured| protection.as_ref().filter(|_| secured));
    let access = |protection: Option<&Protection>| protection.map_or(Access::Open, |it| it.access.clone());

    let (engine, handle) = Engine::with(translation, Arc::clone(&metrics));
    let (stop, stopping) = watch::channel(false);
    let (checked, is_checked) = watch::channel(options.self_check_at_start == Switch::Off);
    let fleet = Arc::new(Fleet::default());
    let told = client.clone().filter(|_| options.policy_events);
    let store = client.map_or_else(|| Store::memory(handle.clone()), Store::cluster);
    let context = Context {
        writer: AttachmentWriter::new(store, handle.clone(), Arc::clone(&fleet)),
        engine: handle,
        fleet,
        drops: Arc::default(),
        metrics,
        access: access(grpc),
        stopping: stopping.clone(),
        checked: is_checked,
        limits: Limits { attach_wait: options.attach_wait, ..Limits::default() },
        replicas,
        interfaces,
        services: Arc::new(services),
    };
    // It ends by itself.
    tokio::spawn(check_at_start(context.engine.clone(), Arc::clone(&context.metrics), checked));
    if !options.self_check_interval.is_zero() {
        let check =
            SelfCheck::new(context.engine.clone(), Arc::clone(&context.metrics), options.self_check_interval);
        // It ends with the engine, and nothing hangs on it.
        tokio::spawn(check.run());
    }
    if let Some(client) = told {
        let Context { engine, fleet, replicas, metrics, .. } = context.clone();
        let events = PolicyEvents::new(client, engine, (fleet, replicas), metrics, Pace::default());
        // The same.
        tokio::spawn(events.run());
    }
    let counting =
        drops::count(Arc::clone(&context.drops), context.engine.clone(), Arc::clone(&context.metrics));
    tokio::spawn(counting);
    let pages = Pages {
        context: context.clone(),
        access: access(admin),
        certificate: protection.as_ref().map(|protection| protection.certificate.clone()),
    };
    let mut tasks = Tasks {
        source: tokio::spawn(source),
        engine: tokio::spawn(engine.run(incoming)),
        admin: serve_admin(admin_listener, PreAuthLimiter::for_probes(files), admin, pages)?,
        server: serve_grpc(listener, PreAuthLimiter::for_agents(files), grpc, context, stopping)?,
        upkeep: tokio::spawn(upkeep),
    };
    let signal = tokio::select! {
        signal = requested => signal,
        ended = tasks.ended() => match ended? {},
    };
    tracing::info!(signal, "stopping");
    // Streams end with a status, so that agents turn to another replica at once; a source that goes on meanwhile does no harm.
    stop.send_replace(true);
    if let Ok(ended) = timeout(GRACE, tasks.server).await {
        ended.context("the gRPC server failed")??;
    }
    Ok(())
}

/// Where objects come from.
struct Followed {
    source: Running,
    metrics: Arc<Metrics>,
    /// The way to the API server, where there is one.
    client: Option<Client>,
}

type Running = Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>>;

/// Follows a directory of manifests, or else an API server.
async fn follow(
    manifests: Option<PathBuf>,
    kubeconfig: Option<&Path>,
    interfaces: HostInterfaces,
    events: mpsc::Sender<SourceEvent>,
) -> anyhow::Result<Followed> {
    if let Some(directory) = manifests {
        let source = Box::pin(ManifestsSource::new(directory, interfaces).run(events));
        return Ok(Followed { source, metrics: Arc::default(), client: None });
    }
    let config = kubernetes::config(kubeconfig)
        .await
        .context("no Kubernetes API server to follow (or give --manifests DIR)")?;
    let (client, anonymous) = (kubernetes::client(config.clone())?, kubernetes::anonymous(config)?);
    let source = KubernetesSource::new(client.clone(), interfaces);
    let source = source.with_probe(anonymous, ProbeSettings::default());
    let metrics = Arc::new(Metrics::with_watches(source.statistics()));
    Ok(Followed { source: Box::pin(source.run(events)), metrics, client: Some(client) })
}

/// Serves the admin port, over TLS where it is protected.
fn serve_admin(
    listener: TcpListener,
    limiter: PreAuthLimiter,
    protection: Option<&Protection>,
    pages: Pages,
) -> anyhow::Result<JoinHandle<io::Result<()>>> {
    Ok(match protection {
        Some(protection) => {
            let connections = listen::tls(listener, protection.admin(limiter)?);
            tokio::spawn(admin::serve(connections, pages))
        }
        None => {
            let metrics = Arc::clone(&pages.context.metrics);
            tokio::spawn(admin::serve(listen::plain_limited(listener, limiter, metrics), pages))
        }
    })
}

/// Serves gRPC until `stopping` turns true, over TLS where it is protected.
fn serve_grpc(
    listener: TcpListener,
    limiter: PreAuthLimiter,
    protection: Option<&Protection>,
    context: Context,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<Result<(), ServeError>>> {
    let stopped = async move {
        // The sender lives until the process ends.
        drop(stopping.wait_for(|stopping| *stopping).await);
    };
    Ok(match protection {
        Some(protection) => {
            let connections = listen::tls(listener, protection.grpc(limiter)?);
            tokio::spawn(service::serve(connections, context, stopped))
        }
        None => {
            let connections = listen::plain_limited(listener, limiter, Arc::clone(&context.metrics));
            tokio::spawn(service::serve(connections, context, stopped))
        }
    })
}

/// What runs until the process ends.
struct Tasks {
    source: JoinHandle<Result<(), SourceError>>,
    engine: JoinHandle<Result<(), EngineError>>,
    server: JoinHandle<Result<(), ServeError>>,
    upkeep: JoinHandle<()>,
    admin: JoinHandle<io::Result<()>>,
}

impl Tasks {
    /// Waits until one of them ends unasked, and says why.
    async fn ended(&mut self) -> anyhow::Result<Infallible> {
        let Self { source, engine, server, upkeep, admin } = self;
        tokio::select! {
            ended = &mut *source => {
                ended.context("the source of objects failed")??;
                bail!("the source of objects has ended")
            }
            ended = &mut *engine => {
                let ended = ended.context("the engine failed")?;
                // The engine may be the first to notice that the source has ended, whose own reason says more.
                if matches!(ended, Err(EngineError::SourceEnded))
                    && let Ok(ended) = timeout(GRACE, source).await
                {
                    ended.context("the source of objects failed")??;
                }
                ended?;
                bail!("the engine has ended")
            }
            ended = server => {
                ended.context("the gRPC server failed")??;
                bail!("the gRPC server has ended")
            }
            ended = upkeep => {
                ended.context("the upkeep of the certificate failed")?;
                bail!("the upkeep of the certificate has ended")
            }
            ended = admin => {
                ended.context("the admin server failed")??;
                bail!("the admin server has ended")
            }
        }
    }
}

/// Raises the limit of open files as far as this process may: every agent has a connection, and the usual limit of 1,024
/// is there for programs that use `select`. The limit that holds.
fn allow_open_files() -> NonZeroUsize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let holds = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "the limit of open files stays as it is");
            limit.current
        }
    };
    // No limit is as good as any that is never reached.
    let files = holds.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    NonZeroUsize::new(files).unwrap_or(NonZeroUsize::MIN)
}
