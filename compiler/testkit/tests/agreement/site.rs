//! A server to ask, with a namespace of the test's own, and answers as they come over the wire.

use std::time::Duration;

use flock_testkit::{ApiServer, Grant, Subject};
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::started::{Server, server};

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The object, of a request that was granted.
    pub(crate) fn object(self) -> Value {
        assert!((200..300).contains(&self.code), "{self:?}");
        self.body
    }

    /// Code and reason of a request that was refused, in a body of that kind.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        let body = &self.body;
        assert_eq!((&body["kind"], &body["status"]), (&json!("Status"), &json!("Failure")), "{self:?}");
        assert_eq!(body["code"], self.code, "{self:?}");
        (self.code, body["reason"].as_str().unwrap())
    }
}

/// A server.
pub(crate) struct Site {
    client: Client,
    /// A namespace of the test's own.
    pub(crate) namespace: String,
    /// Ends what is in no namespace, so that it is the test's own.
    pub(crate) suffix: String,
    /// The server of this crate.
    here: Option<ApiServer>,
}

impl Site {
    pub(crate) async fn here() -> Self {
        let server = ApiServer::start().await.unwrap();
        let client = client(server.config());
        let site = Self { client, namespace: "own".to_owned(), suffix: "own".to_owned(), here: Some(server) };
        site.enter().await;
        site
    }

    /// A real one; nothing, and a word about it, where there is none.
    pub(crate) async fn real(test: &str) -> Option<Self> {
        let Some(Server { url, token }) = server() else {
            skipped(test);
            return None;
        };
        let mut config = Config::new(url.parse().expect("FLOCK_KUBE_APISERVER is an URL or a program"));
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(token.into());
        // Of each run anew: a namespace that was deleted stays for as long as nobody finalizes it.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let test = test.rsplit("::").next().unwrap_or_default().replace('_', "-");
        let suffix: String =
            format!("{}-{test}", now.as_micros() % 10_000_000_000).chars().take(50).collect();
        let suffix = suffix.trim_end_matches('-').to_owned();
        let namespace = format!("flock-{suffix}");
        let site = Self { client: client(config), namespace, suffix, here: None };
        site.enter().await;
        Some(site)
    }

    async fn enter(&self) {
        self.post("/api/v1/namespaces", json!({ "metadata": { "name": self.namespace } })).await.object();
    }

    /// Deletes the test's namespace.
    pub(crate) async fn leave(&self) {
        self.delete(&format!("/api/v1/namespaces/{}", self.namespace)).await;
    }

    /// Returns true if it is the server of this crate.
    pub(crate) const fn is_here(&self) -> bool {
        self.here.is_some()
    }

    /// Has the server forget what it need not remember, where a test can have that.
    pub(crate) fn compact(&self) {
        if let Some(server) = &self.here {
            server.store().compact();
        }
    }

    /// The path of this plural in the test's namespace.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body), "application/json").await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PUT, path, Some(body), "application/json").await
    }

    pub(crate) async fn merge(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path, Some(body), "application/merge-patch+json").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None, "").await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>, content: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !content.is_empty() {
            request = request.header(header::CONTENT_TYPE, content);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string().into_bytes()));
        let asking = async {
            let response = self.client.send(request.body(body).unwrap()).await.unwrap();
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            let body =
                serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
            Answer { code, body }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("there should have been an answer long ago")
    }

    /// The events of a watch as they come, to the end that the server makes; `query` is behind `watch=true&`.
    pub(crate) async fn watch(&self, path: &str, query: &str) -> Events {
        let uri = format!("{path}?watch=true&{query}");
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let chunks = response.into_body().into_data_stream().map_err(|error| error.to_string());
        let lines =
            futures::stream::unfold((Box::pin(chunks), Vec::new()), |(mut chunks, mut rest)| async move {
                loop {
                    if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = rest.drain(..=end).collect();
                        return Some((serde_json::from_slice(&line).unwrap(), (chunks, rest)));
                    }
                    let chunk: bytes::Bytes = chunks.next().await?.expect("a watch ends between two events");
                    rest.extend_from_slice(&chunk);
                }
            });
        Events { code, lines: lines.boxed() }
    }

    /// Lets somebody do something with all resources of a kind in the core group.
    pub(crate) async fn allow(&self, user: &str, verb: &str, resource: &str) {
        if let Some(server) = &self.here {
            server.grants().allow(Grant::resource(Subject::user(user), verb, "", resource));
            return;
        }
        let name = format!("flock-{}", self.suffix);
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let rule = json!({ "apiGroups": [""], "resources": [resource], "verbs": [verb] });
        let role = json!({ "metadata": { "name": name }, "rules": [rule] });
        self.post(&format!("{rbac}/clusterroles"), role).await.object();
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
        });
        self.post(&format!("{rbac}/clusterrolebindings"), binding).await.object();
    }
}

/// What a watch was answered with.
pub(crate) struct Events {
    pub(crate) code: u16,
    lines: futures::stream::BoxStream<'static, Value>,
}

impl Events {
    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(PATIENCE, self.lines.next()).await.expect("something should have come long ago")
    }

    /// All that comes up to the end.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// Type and name of an event's object.
pub(crate) fn short(event: &Value) -> String {
    let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
    format!("{} {name}", event["type"].as_str().unwrap())
}

/// The version of an object or a list, as the number that it is.
pub(crate) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn client(mut config: Config) -> Client {
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// Says why a test shows nothing, past the capture of output that hides it where tests pass.
fn skipped(test: &str) {
    use std::io::Write as _;
    let reason = "needs FLOCK_KUBE_APISERVER: the program (with FLOCK_ETCD), or the URL of a server that may be thrown away, with FLOCK_KUBE_TOKEN";
    // If nobody listens, nobody is misled.
    let _ = writeln!(std::io::stderr(), "skipped: {reason} ({test})");
}
