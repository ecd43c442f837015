//! The way of a request to its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

use crate::faults::{Failure, Faults};
use crate::grants::Grants;
use crate::identity::{API_AUDIENCE, Identities, Identity};
use crate::kind::{
    Kind, POD, PORT_FORWARD, SELF_SUBJECT_ACCESS_REVIEW, SUBJECT_ACCESS_REVIEW, TOKEN_REQUEST, TOKEN_REVIEW,
};
use crate::port_forward::{Accepted, Forwards};
use crate::request::{Options, Target, Verb};
use crate::status::Status;
use crate::store::Store;
use crate::wire::{self, Scissors};
use crate::{list, patch, review, schema, token_request, watch};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Api {
    kinds: Vec<Kind>,
    /// Whether requests need a token that counts.
    closed: bool,
    pub(crate) store: Store,
    pub(crate) faults: Arc<Faults>,
    pub(crate) identities: Identities,
    pub(crate) grants: Grants,
    pub(crate) forwards: Forwards,
    requests: Mutex<BTreeMap<(Kind, Verb), u64>>,
}

pub(crate) type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

enum Reply {
    Object(StatusCode, Value),
    Watch(watch::Answer),
    Forward(Accepted),
}

impl Reply {
    fn object(object: Value) -> Self {
        Self::Object(StatusCode::OK, object)
    }
}

impl Api {
    pub(crate) fn new(kinds: Vec<Kind>, closed: bool, store: Store) -> Self {
        Self {
            kinds,
            closed,
            store,
            faults: Arc::default(),
            identities: Identities::default(),
            grants: Grants::default(),
            forwards: Forwards::default(),
            requests: Mutex::default(),
        }
    }

    /// How many requests of this kind and verb have arrived.
    pub(crate) fn requests(&self, kind: Kind, verb: Verb) -> u64 {
        self.counters().get(&(kind, verb)).copied().unwrap_or_default()
    }

    /// What has been asked for at least once, as `verb resource.group`.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.counters().keys().map(|(kind, verb)| format!("{} {}", verb.word(), kind.resource())).collect()
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<(Kind, Verb), u64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request; a watch goes on in its body.
    pub(crate) async fn answer(&self, request: Request<Incoming>, scissors: Arc<Scissors>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let answered = match (head.method.as_str(), head.uri.path()) {
            ("GET", "/version") => {
                Ok(json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0" })).map(Reply::object)
            }
            // Everybody may ask.
            ("GET", "/readyz") => Ok(Reply::object(json!("ok"))),
            _ => {
                let options = Options::parse(head.uri.query().unwrap_or_default());
                match body.collect().await {
                    Ok(body) => self.dispatch(&head, &options, &body.to_bytes()).await,
                    Err(error) => Err(Status::bad_request(error.to_string())),
                }
            }
        };
        let faults = Arc::clone(&self.faults);
        let (code, body, retry_after) = match answered {
            Ok(Reply::Object(code, object)) => (code, wire::body(object.to_string().into(), faults), None),
            Ok(Reply::Watch(watch::Answer::Stream(stream))) => {
                (StatusCode::OK, wire::events(stream, faults, scissors), None)
            }
            Ok(Reply::Forward(accepted)) => return switched(accepted, head),
            Ok(Reply::Watch(watch::Answer::Line(line))) => (StatusCode::OK, wire::body(line, faults), None),
            Err(status) => {
                let retry_after = status.details.get("retryAfterSeconds").and_then(Value::as_u64);
                (status.http_code(), wire::body(status.to_json().to_string().into(), faults), retry_after)
            }
        };
        let mut response = Response::new(StreamBody::new(body.map(|bytes| Ok(Frame::data(bytes))).boxed()));
        *response.status_mut() = code;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
        }
        response
    }

    async fn dispatch(&self, head: &Parts, options: &Options, body: &[u8]) -> Result<Reply, Status> {
        let (method, path) = (&head.method, head.uri.path());
        let unknown = || Status::new(StatusCode::NOT_FOUND, "NotFound", format!("no such path: {path}"));
        let target = Target::parse(path, &self.kinds).ok_or_else(unknown)?;
        let not_allowed = || {
            Status::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                format!("{method} is not served here"),
            )
        };
        let verb = target.verb(method, options).ok_or_else(not_allowed)?;
        *self.counters().entry((target.kind, verb)).or_default() += 1;
        let delay = self.faults.delay_of(target.kind, verb);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(failure) = self.faults.take_failure(target.kind, verb) {
            return Err(injected(&failure));
        }
        self.admit(&head.headers)?;
        let created = |object| Reply::Object(StatusCode::CREATED, object);
        match (target.kind, verb) {
            (TOKEN_REVIEW, Verb::Create) => review::token(&self.store, &self.identities, body).map(created),
            (SUBJECT_ACCESS_REVIEW, Verb::Create) => review::access(&self.grants, body).map(created),
            (SELF_SUBJECT_ACCESS_REVIEW, Verb::Create) => {
                review::own_access(&self.grants, self.asker(&head.headers), body).map(created)
            }
            (TOKEN_REQUEST, Verb::Create) => {
                let (namespace, name) = target.place();
                token_request::issue(&self.store, &self.identities, namespace, name, body).map(created)
            }
            (PORT_FORWARD, Verb::Get) => {
                let (namespace, name) = target.place();
                self.store.get(POD, namespace, name).ok_or_else(|| Status::not_found(&POD, name))?;
                self.forwards.accept((namespace, name), options, &head.headers).map(Reply::Forward)
            }
            (
                TOKEN_REVIEW
                | SUBJECT_ACCESS_REVIEW
                | SELF_SUBJECT_ACCESS_REVIEW
                | TOKEN_REQUEST
                | PORT_FORWARD,
                _,
            ) => Err(not_allowed()),
            _ => self.object(&target, verb, options, head, body),
        }
    }

    /// Lets a request in, if it needs to be let in, by the token that it carries.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Status> {
        if !self.closed {
            return Ok(());
        }
        let unauthorized = || Status::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
        self.asker(headers).map(drop).ok_or_else(unauthorized)
    }

    /// Who is behind a request, by the token that it carries.
    fn asker(&self, headers: &HeaderMap) -> Option<Identity> {
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "))?;
        let admitted = self.identities.authenticate(&self.store, token, &[API_AUDIENCE.to_owned()]);
        admitted.ok().map(|admitted| admitted.identity)
    }

    /// Answers a request for objects that are stored.
    fn object(
        &self,
        target: &Target,
        verb: Verb,
        options: &Options,
        head: &Parts,
        body: &[u8],
    ) -> Result<Reply, Status> {
        let kind = target.kind;
        let (namespace, name) = target.place();
        let get = || self.store.get(kind, namespace, name).ok_or_else(|| Status::not_found(&kind, name));
        match verb {
            Verb::List => list::list(&self.store, target, options).map(Reply::object),
            Verb::Watch => watch::watch(&self.store, &self.faults, target, options).map(Reply::Watch),
            Verb::Get => get().map(Reply::object),
            Verb::Create => {
                let mut object = object(body, target.namespace.as_deref(), None)?;
                schema::admit(kind, &mut object)?;
                self.store.create(kind, object).map(|it| Reply::Object(StatusCode::CREATED, it))
            }
            Verb::Update => {
                let mut object = object(body, target.namespace.as_deref(), Some(name))?;
                schema::admit(kind, &mut object)?;
                self.store.update(kind, object).map(Reply::object)
            }
            Verb::Patch => {
                let content = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let mut object = patch::patched(get()?, content.unwrap_or_default(), body)?;
                schema::admit(kind, &mut object)?;
                self.store.update(kind, object).map(Reply::object)
            }
            Verb::Delete => self.store.remove(kind, namespace, name).map(Reply::object),
        }
    }
}

/// The answer after which the connection is a websocket.
fn switched(accepted: Accepted, head: Parts) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(futures::stream::empty().boxed()));
    *response.status_mut() = Accepted::STATUS;
    response
        .headers_mut()
        .extend(accepted.forward(head).into_iter().map(|(name, value)| (Some(name), value)));
    response
}

/// The object of a request's body, which must agree with the request's path.
fn object(body: &[u8], namespace: Option<&str>, name: Option<&str>) -> Result<Value, Status> {
    let mut object: Value =
        serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?;
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.ok_or_else(|| Status::bad_request("metadata is missing"))?;
    for (field, wanted) in [("namespace", namespace), ("name", name)] {
        let Some(wanted) = wanted else { continue };
        let found = metadata.entry(field).or_insert_with(|| json!(wanted));
        if found != wanted {
            return Err(Status::bad_request(format!(
                "metadata.{field}: {found} is not {wanted:?} of the path"
            )));
        }
    }
    Ok(object)
}

/// A failure that a test asked for.
fn injected(failure: &Failure) -> Status {
    let code = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = match code {
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::GONE => "Expired",
        _ => "InternalError",
    };
    let mut status = Status::new(code, reason, "injected by the test");
    if let Some(seconds) = failure.retry_after {
        status.details = json!({ "retryAfterSeconds": seconds });
    }
    status
}
