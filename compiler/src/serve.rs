//! `flock-compiler serve`: source, engine and servers under one roof. Any of them ending unasked ends the process.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use flock_compiler_core::Options;
use flock_shared::shutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch};

use crate::access::Access;
use crate::admin::{self, Pages};
use crate::attach::{Keeper, Store};
use crate::cli::Serve;
use crate::engine::{Engine, EngineError};
use crate::fleet::Fleet;
use crate::listen::{self, listen};
use crate::metrics::Metrics;
use crate::secured::{Protection, Upkeep};
use crate::service::{self, Context, Limits};
use crate::source::kubernetes::{self, KubernetesSource};
use crate::source::manifests::ManifestsSource;
use crate::source::{Source, SourceError, SourceEvent};

/// Events that may wait for the engine; a source that is ahead waits.
const EVENT_QUEUE: usize = 4096;
/// How long open streams may take to end once the process was asked to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When something that should run until then does not.
pub async fn serve(options: Serve) -> anyhow::Result<()> {
    allow_open_files();
    let listener = listen(options.listen).with_context(|| format!("--listen {}", options.listen))?;
    let admin_listener =
        listen(options.admin_listen).with_context(|| format!("--admin-listen {}", options.admin_listen))?;
    tracing::info!(listen = %listener.local_addr()?, admin = %admin_listener.local_addr()?, "listening");

    let (events, incoming) = mpsc::channel(EVENT_QUEUE);
    let secured = [options.listen, options.admin_listen].map(|address| options.is_secured(address));
    let trust = options.interfaces.trust();
    let interfaces = options.interfaces.host_iface;
    let (source, metrics, client) = match options.manifests {
        Some(directory) => {
            (run_source(ManifestsSource::new(directory, interfaces), events), Metrics::default(), None)
        }
        None => {
            let client = kubernetes::connect(options.kubeconfig.as_deref())
                .await
                .context("no Kubernetes API server to follow (or give --manifests DIR)")?;
            let source = KubernetesSource::new(client.clone(), interfaces);
            let metrics = Metrics::with_watches(source.statistics());
            (run_source(source, events), metrics, Some(client))
        }
    };

    let kept = client.clone();
    let translation = Options { unready_pods: options.unready.unready_pods, trust, ..Options::default() };
    let metrics = Arc::new(metrics);
    let (protection, upkeep) = match client.filter(|_| secured.contains(&true)) {
        Some(client) => {
            let (protection, upkeep) = Protection::new(&client, options.security, &metrics)?;
            (Some(protection), upkeep)
        }
        None => (None, Box::pin(pending()) as Upkeep),
    };
    let [grpc, admin] = secured.map(|secured| protection.as_ref().filter(|_| secured));
    let access = |protection: Option<&Protection>| protection.map_or(Access::Open, |it| it.access.clone());
    let (engine, handle) = Engine::with(translation, Arc::clone(&metrics));
    let mut engine = tokio::spawn(engine.run(incoming));
    let mut source = tokio::spawn(source);
    let (stop, stopping) = watch::channel(false);
    let fleet = Arc::new(Fleet::default());
    let store = kept.map_or_else(|| Store::memory(handle.clone()), Store::cluster);
    let context = Context {
        keeper: Keeper::new(store, handle.clone(), Arc::clone(&fleet)),
        engine: handle,
        fleet,
        metrics,
        access: access(grpc),
        stopping: stopping.clone(),
        limits: Limits { attach_wait: options.attach_wait, ..Limits::default() },
    };
    let pages = Pages {
        context: context.clone(),
        access: access(admin),
        certificate: protection.as_ref().map(|protection| protection.certificate.clone()),
    };
    let mut admin = match admin.map(Protection::admin).transpose()? {
        Some(secured) => tokio::spawn(admin::serve(listen::secured(admin_listener, secured), pages)),
        None => tokio::spawn(admin::serve(listen::plain(admin_listener), pages)),
    };
    let mut upkeep = tokio::spawn(upkeep);
    let stopped = async move {
        let mut stopping = stopping;
        // The sender lives until the end of this function.
        drop(stopping.wait_for(|stopping| *stopping).await);
    };
    let mut server = match grpc.map(Protection::grpc).transpose()? {
        Some(secured) => tokio::spawn(service::serve(listen::secured(listener, secured), context, stopped)),
        None => tokio::spawn(service::serve(listen::plain(listener), context, stopped)),
    };

    let signal = tokio::select! {
        signal = shutdown::requested() => signal.context("cannot listen for signals")?,
        ended = &mut source => { ended.context("the source of objects failed")??; bail!("the source of objects has ended") }
        ended = &mut engine => {
            let ended = ended.context("the engine failed")?;
            // The engine may be the first to notice that the source has ended, whose own reason says more.
            if matches!(ended, Err(EngineError::SourceEnded))
                && let Ok(ended) = tokio::time::timeout(GRACE, source).await
            {
                ended.context("the source of objects failed")??;
            }
            ended?;
            bail!("the engine has ended")
        }
        ended = &mut server => { ended.context("the gRPC server failed")??; bail!("the gRPC server has ended") }
        ended = &mut upkeep => { ended.context("the upkeep of the certificate failed")?; bail!("the upkeep of the certificate has ended") }
        ended = &mut admin => { ended.context("the admin server failed")??; bail!("the admin server has ended") }
    };
    tracing::info!(signal, "stopping");
    stop.send_replace(true);
    if let Ok(ended) = tokio::time::timeout(GRACE, server).await {
        ended.context("the gRPC server failed")??;
    }
    Ok(())
}

/// Raises the limit of open files as far as this process may: every agent has a connection, and the usual limit of 1,024
/// is there for programs that use `select`.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files stays as it is");
    }
}

type Running = std::pin::Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>>;

fn run_source(source: impl Source, events: mpsc::Sender<SourceEvent>) -> Running {
    Box::pin(source.run(events))
}
