//! The way of a request to its answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

use crate::faults::{Failure, Faults};
use crate::kind::Kind;
use crate::request::{Options, Target, Verb};
use crate::status::Status;
use crate::store::Store;
use crate::wire::{self, Scissors};
use crate::{list, watch};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Api {
    kinds: Vec<Kind>,
    pub(crate) store: Store,
    pub(crate) faults: Arc<Faults>,
    requests: Mutex<BTreeMap<(Kind, Verb), u64>>,
}

pub(crate) type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

enum Reply {
    Object(StatusCode, Value),
    Watch(watch::Answer),
}

impl Reply {
    fn object(object: Value) -> Self {
        Self::Object(StatusCode::OK, object)
    }
}

impl Api {
    pub(crate) fn new(kinds: Vec<Kind>, store: Store) -> Self {
        Self { kinds, store, faults: Arc::default(), requests: Mutex::default() }
    }

    /// How many requests of this kind and verb have arrived.
    pub(crate) fn requests(&self, kind: Kind, verb: Verb) -> u64 {
        self.counters().get(&(kind, verb)).copied().unwrap_or_default()
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
            (_, path) => {
                let options = Options::parse(head.uri.query().unwrap_or_default());
                match body.collect().await {
                    Ok(body) => self.dispatch(&head.method, path, &options, &body.to_bytes()),
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

    fn dispatch(&self, method: &Method, path: &str, options: &Options, body: &[u8]) -> Result<Reply, Status> {
        let unknown = || Status::new(StatusCode::NOT_FOUND, "NotFound", format!("no such path: {path}"));
        let target = Target::parse(path, &self.kinds).ok_or_else(unknown)?;
        let verb = target.verb(method, options).ok_or_else(|| {
            Status::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                format!("{method} is not served here"),
            )
        })?;
        *self.counters().entry((target.kind, verb)).or_default() += 1;
        if let Some(failure) = self.faults.take_failure(target.kind, verb) {
            return Err(injected(&failure));
        }
        let (namespace, name) = (target.namespace.as_deref(), target.name.as_deref().unwrap_or_default());
        match verb {
            Verb::List => list::list(&self.store, &target, options).map(Reply::object),
            Verb::Watch => watch::watch(&self.store, &self.faults, &target, options).map(Reply::Watch),
            Verb::Get => self
                .store
                .get(target.kind, namespace.unwrap_or_default(), name)
                .map(Reply::object)
                .ok_or_else(|| Status::not_found(&target.kind, name)),
            Verb::Create => {
                let object = object(body, namespace, None)?;
                self.store.create(target.kind, object).map(|it| Reply::Object(StatusCode::CREATED, it))
            }
            Verb::Update => {
                self.store.update(target.kind, object(body, namespace, Some(name))?).map(Reply::object)
            }
            Verb::Delete => {
                self.store.remove(target.kind, namespace.unwrap_or_default(), name).map(Reply::object)
            }
        }
    }
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
