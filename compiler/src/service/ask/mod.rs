//! The service of questions about policy. Each is let in by what it is about, and answered from what is mirrored.
//!
//! ```text
//! request ─▶ authenticate ─▶ method ─ About ─▶ Access::asker ─▶ Sight ─▶ Questions ─ flock_ask ─▶ rows
//!            (before its body)                                            (threads of their own)
//! ```

mod about;
mod askers;
mod authenticate;
mod dropped;
mod evidence;
mod lint;
mod opened;
mod passes;
mod policies;
mod proposed;
mod questions;
mod receipt;
mod relevant;
mod rows;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use flock_ask::{AskError, Sight};
use flock_compiler_core::judge::Judge;
use flock_proto::v1;
use flock_proto::v1::ask_service_server::{AskService, AskServiceServer};
use flock_shared::NamespaceName;
use futures::{Stream, TryStreamExt as _};
use http::{Request as HttpRequest, Response as HttpResponse};
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::LayerExt as _;
use tonic::{Code, Request, Response, Status};
use tower::layer::layer_fn;
use tower::service_fn;

use self::about::About;
use self::authenticate::LongRequests;
use self::evidence::Certifier;
use self::questions::{Asked, Questions};
use self::rows::Rows;
use super::connection::ConnectionHandle;
use super::context::Context;
use crate::access::{Allowed, Grant, Permission, Resource};

/// The largest question, in bytes: the manifests of a preview.
const MAX_QUESTION_BYTES: usize = 1024 * 1024;

/// The service.
#[derive(Debug, Clone)]
struct Ask {
    context: Context,
    questions: Arc<Questions>,
}

/// The service of askers: a layer that authenticates, around the methods.
pub(super) fn service(
    context: Context,
) -> impl Service<HttpRequest<Body>, Response = HttpResponse<Body>, Error = Infallible, Future: Send + 'static>
+ NamedService
+ Clone
+ Send
+ Sync
+ 'static {
    let (access, long) = (context.access.clone(), LongRequests::default());
    let ask = AskServiceServer::new(Ask { context, questions: Arc::default() })
        .max_encoding_message_size(flock_proto::MAX_MESSAGE_BYTES)
        .max_decoding_message_size(MAX_QUESTION_BYTES);
    let authenticating = layer_fn(move |ask: AskServiceServer<Ask>| {
        let (access, long) = (access.clone(), long.clone());
        service_fn(move |request| {
            authenticate::authenticated(access.clone(), long.clone(), request, ask.clone())
        })
    });
    authenticating.named_layer(ask)
}

/// Who asks, and what they may see.
struct Asker {
    connection: ConnectionHandle,
    /// For as long as that is so.
    grant: Grant,
    sight: Sight,
}

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Ask {
    /// Lets a request in by what it is about.
    async fn admit<T>(
        &self,
        request: &Request<T>,
        about: Result<About, AskError>,
        of: fn(Option<NamespaceName>) -> Permission,
    ) -> Result<Asker, Status> {
        let about = about.map_err(questions::status)?;
        let connection = ConnectionHandle::of(request.extensions())?;
        let (namespaces, addresses) = match about {
            About::All => (BTreeSet::new(), Vec::new()),
            About::Namespaces(namespaces, addresses) => (namespaces, addresses),
        };
        let is_about_all = namespaces.is_empty();
        let allowed = self.allowed(&connection, request, of, &namespaces).await;
        let (grant, allowed) = allowed.map_err(|status| match status.code() {
            Code::PermissionDenied if is_about_all => {
                Status::permission_denied(format!("{}; ask about one namespace with -n", status.message()))
            }
            _ => status,
        })?;
        let sight = match allowed {
            Allowed::All => Sight::Everything,
            Allowed::In(mut seen) => {
                // Whose an address is, is looked for on behalf of those only who see something already.
                let owners = self.owners(addresses).await?;
                let others: BTreeSet<NamespaceName> = owners.difference(&namespaces).cloned().collect();
                // Who may not see these is answered all the same, without what is theirs.
                if !others.is_empty()
                    && let Ok((_, Allowed::In(more))) = self.allowed(&connection, request, of, &others).await
                {
                    seen.extend(more);
                }
                Sight::Only(seen)
            }
        };
        Ok(Asker { connection, grant, sight })
    }

    async fn allowed<T>(
        &self,
        connection: &ConnectionHandle,
        request: &Request<T>,
        of: fn(Option<NamespaceName>) -> Permission,
        namespaces: &BTreeSet<NamespaceName>,
    ) -> Result<(Grant, Allowed), Status> {
        let mut allowed = None;
        let admitting = async {
            let headers = request.metadata().as_ref();
            let (grant, seen) = self.context.access.asker(headers, connection.peer(), of, namespaces).await?;
            allowed = Some(seen);
            Ok(grant)
        };
        let grant = connection.admit(admitting).await?;
        allowed.map(|allowed| (grant, allowed)).ok_or_else(|| Status::internal("nobody was let in"))
    }

    /// The namespaces of the pods at some addresses.
    async fn owners(&self, addresses: Vec<IpAddr>) -> Result<BTreeSet<NamespaceName>, Status> {
        if addresses.is_empty() || !self.context.engine.is_ready() {
            return Ok(BTreeSet::new());
        }
        let snapshot = self.context.engine.snapshot().await?;
        let look = move || {
            let judge = Judge::new(&snapshot.mirrored.world, snapshot.options.unready_pods);
            let owners = addresses.iter().flat_map(|address| judge.place_of(*address).owners);
            // An address has few owners, and each namespace costs the API server a review.
            owners.map(|pod| pod.key.namespace.clone()).take(4).collect()
        };
        Ok(tokio::task::spawn_blocking(look).await.unwrap_or_default())
    }

    /// Answers with one message.
    async fn one<T: Message + 'static>(
        &self,
        asker: Asker,
        answer: impl FnOnce(&Asked<'_>) -> Result<T, AskError> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let admitted = self.questions.admit(&asker.grant, asker.sight)?;
        let answered = self.questions.one(&self.context.engine, admitted, answer).await?;
        asker.connection.owe(answered.answer.encoded_len() as u64, answered.room);
        Ok(Response::new(answered.answer))
    }

    /// Answers with rows.
    async fn rows<T: Message + Unpin + 'static>(
        &self,
        asker: Asker,
        answer: impl FnOnce(&Asked<'_>) -> Result<Vec<T>, AskError> + Send + 'static,
    ) -> Result<Response<Stream_<T>>, Status> {
        let admitted = self.questions.admit(&asker.grant, asker.sight)?;
        let answered = self.questions.rows(&self.context.engine, admitted, answer).await?;
        Ok(Response::new(Box::pin(Rows::new(answered, asker.connection))))
    }
}

fn explanations(namespace: Option<NamespaceName>) -> Permission {
    Permission::Get(Resource::PolicyExplanations(namespace))
}

fn drops(namespace: Option<NamespaceName>) -> Permission {
    Permission::Get(Resource::PolicyDrops(namespace))
}

fn watched_drops(namespace: Option<NamespaceName>) -> Permission {
    Permission::Watch(Resource::PolicyDrops(namespace))
}

#[tonic::async_trait]
impl AskService for Ask {
    type ReachStream = Stream_<v1::ReachRow>;
    type MatrixStream = Stream_<v1::MatrixRow>;
    type ListOpenStream = Stream_<v1::OpenRow>;
    type ListPoliciesStream = Stream_<v1::PolicyRow>;
    type PreviewStream = Stream_<v1::PreviewRow>;
    type LintStream = Stream_<v1::Finding>;
    type WatchDropsStream = Stream_<v1::DropRow>;
    type ListPassesStream = Stream_<v1::PassRow>;

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let about = About::ends([request.get_ref().from.as_ref(), request.get_ref().to.as_ref()]);
        let asker = self.admit(&request, about, explanations).await?;
        let (request, context) = (request.into_inner(), self.context.clone());
        self.one(asker, move |asked| {
            let mut response = flock_ask::explain(&asked.cluster, &request, asked.sight)?;
            let Context { engine, fleet, drops, metrics, .. } = &context;
            Certifier::new(asked.snapshot, engine.mirror(), (fleet, drops), metrics).certify(&mut response);
            Ok(response)
        })
        .await
    }

    async fn reach(&self, request: Request<v1::ReachRequest>) -> Result<Response<Self::ReachStream>, Status> {
        let about = About::ends([request.get_ref().end.as_ref()]);
        let asker = self.admit(&request, about, explanations).await?;
        let request = request.into_inner();
        self.rows(asker, move |asked| flock_ask::reach(&asked.cluster, &request, asked.sight)).await
    }

    async fn matrix(
        &self,
        request: Request<v1::MatrixRequest>,
    ) -> Result<Response<Self::MatrixStream>, Status> {
        let about = About::namespace(&request.get_ref().namespace);
        let asker = self.admit(&request, about, explanations).await?;
        let request = request.into_inner();
        self.rows(asker, move |asked| flock_ask::matrix(&asked.cluster, &request, asked.sight)).await
    }

    async fn list_open(
        &self,
        request: Request<v1::ListOpenRequest>,
    ) -> Result<Response<Self::ListOpenStream>, Status> {
        let about = About::namespace(&request.get_ref().namespace);
        let asker = self.admit(&request, about, explanations).await?;
        let request = request.into_inner();
        self.rows(asker, move |asked| flock_ask::open(&asked.cluster, &request, asked.sight)).await
    }

    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<Self::ListPoliciesStream>, Status> {
        let about = About::namespace(&request.get_ref().namespace);
        let asker = self.admit(&request, about, explanations).await?;
        let (request, context) = (request.into_inner(), self.context.clone());
        // Before the question is queued: on its thread nothing can be waited for.
        let problems = context.engine.problems().await?;
        self.rows(asker, move |asked| {
            let mirror = context.engine.mirror();
            let mut rows = flock_ask::policies(&asked.cluster, &request, asked.sight)?;
            policies::enforced(&mut rows, asked.snapshot, mirror, &context.fleet);
            policies::drops(&mut rows, asked, &context.drops);
            policies::notes(&mut rows, asked, &request.namespace, &problems, &context)?;
            Ok(rows)
        })
        .await
    }

    async fn preview(
        &self,
        request: Request<v1::PreviewRequest>,
    ) -> Result<Response<Self::PreviewStream>, Status> {
        // Reading manifests takes a while, and whose they are is known by now.
        let (metadata, extensions, message) = request.into_parts();
        let reading = tokio::task::spawn_blocking(move || proposed::read(&message));
        let proposed = reading.await.map_err(|_| Status::internal("manifests could not be read"))?;
        let proposed = proposed.map_err(questions::status)?;
        let request = Request::from_parts(metadata, extensions, ());
        let about = About::several(proposed::namespaces(&proposed));
        let asker = self.admit(&request, about, explanations).await?;
        self.rows(asker, move |asked| flock_ask::preview(&asked.cluster, &proposed, asked.sight)).await
    }

    async fn lint(&self, request: Request<v1::LintRequest>) -> Result<Response<Self::LintStream>, Status> {
        let about = About::namespace(&request.get_ref().namespace);
        let asker = self.admit(&request, about, explanations).await?;
        let (request, context) = (request.into_inner(), self.context.clone());
        let problems = context.engine.problems().await?;
        self.rows(asker, move |asked| lint::lint(asked, &request, &problems, &context)).await
    }

    async fn watch_drops(
        &self,
        request: Request<v1::WatchDropsRequest>,
    ) -> Result<Response<Self::WatchDropsStream>, Status> {
        let asked = request.get_ref();
        let about = match (asked.namespace.is_empty(), &asked.from, &asked.to) {
            (true, None, None) => Ok(About::All),
            (true, from, to) => About::ends([from.as_ref(), to.as_ref()]),
            (false, ..) => About::namespace(&asked.namespace),
        };
        let of = if asked.follow { watched_drops } else { drops };
        let asker = self.admit(&request, about, of).await?;
        let (request, context) = (request.into_inner(), self.context.clone());
        if !request.follow {
            dropped::read(&context.drops).await;
            return self
                .rows(asker, move |asked| {
                    dropped::rows(asked, &request, &context.drops, context.engine.mirror())
                })
                .await;
        }
        let too_many = || Status::resource_exhausted("too many watch drops already; ask without -f");
        let watcher = context.drops.subscribe().ok_or_else(too_many)?;
        let Asker { connection, grant, sight } = asker;
        let (sight, owing) = (Arc::new(sight), connection.clone());
        let (questions, told) = (Arc::clone(&self.questions), HashMap::new());
        let watching = dropped::Watching { context, connection, grant, sight, request, questions, told };
        let (sender, rows) = dropped::channel();
        tokio::spawn(dropped::follow(watching, watcher, sender));
        // Owed once HTTP/2 asks for it.
        let rows = ReceiverStream::new(rows)
            .inspect_ok(move |row: &v1::DropRow| owing.owe(row.encoded_len() as u64, None));
        Ok(Response::new(Box::pin(rows)))
    }

    async fn list_passes(
        &self,
        request: Request<v1::ListPassesRequest>,
    ) -> Result<Response<Self::ListPassesStream>, Status> {
        let about = About::namespace(&request.get_ref().namespace);
        let asker = self.admit(&request, about, explanations).await?;
        let (request, context) = (request.into_inner(), self.context.clone());
        self.rows(asker, move |asked| {
            let namespace = NamespaceName::new(&request.namespace).ok();
            if let Some(namespace) = namespace.as_ref().filter(|it| !asked.cluster.has_namespace(it)) {
                return Err(AskError::NotFound(format!("no namespace {:?}", namespace.as_str())));
            }
            let since = request.since.and_then(|since| since.try_into().ok());
            let of = (namespace.as_ref(), since);
            Ok(passes::passes(asked, context.engine.mirror(), &context.fleet, of))
        })
        .await
    }

    async fn get_receipt(
        &self,
        request: Request<v1::GetReceiptRequest>,
    ) -> Result<Response<v1::Receipt>, Status> {
        let about = About::namespace(&request.get_ref().namespace);
        let asker = self.admit(&request, about, explanations).await?;
        let (request, context) = (request.into_inner(), self.context.clone());
        self.one(asker, move |asked| {
            let namespace = NamespaceName::new(&request.namespace).ok();
            let of = (&*context.interfaces, namespace.as_ref());
            receipt::receipt(asked.snapshot, &context.fleet, of, asked.sight)
        })
        .await
    }
}
