//! An API server that has its listings ready: what it costs to list a cluster is then what it costs the compiler.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Objects of a page, as many as the compiler asks for.
const PAGE: usize = 500;
/// Namespaces of the cluster.
const NAMESPACES: usize = 1000;
/// Pods of a node.
pub(crate) const PODS: usize = 30;

type Pages = BTreeMap<&'static str, Vec<Bytes>>;

/// The server; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

impl Server {
    /// A cluster of so many nodes, whose pods were attached, or are known by their statuses only.
    pub(crate) fn start(nodes: usize, attached: bool) -> anyhow::Result<Self> {
        let pages = Arc::new(pages(nodes, attached));
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(answer).with_state(pages);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, _runtime: runtime })
    }
}

async fn answer(State(pages): State<Arc<Pages>>, uri: Uri) -> Response {
    let Some(pages) = pages.get(uri.path()) else { return StatusCode::NOT_FOUND.into_response() };
    // Neither value has anything in it that would have to be decoded.
    let asked = |name: &str| {
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let body = if asked("watch").is_some_and(|watch| watch != "false") {
        // Nothing ever happens.
        Body::from_stream(tokio_stream::pending::<Result<Bytes, std::convert::Infallible>>())
    } else {
        let page = asked("continue").and_then(|page| page.parse::<usize>().ok()).unwrap_or(0);
        pages.get(page).cloned().unwrap_or_default().into()
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn pages(nodes: usize, attached: bool) -> Pages {
    let name = |node: usize| format!("node-{node}");
    let node = |number: usize| {
        json!({
            "metadata": { "name": name(number), "uid": format!("node-uid-{number}"), "resourceVersion": "7" },
            "spec": { "podCIDRs": [format!("10.{}.{}.0/24", number / 256, number % 256)] },
            "status": { "addresses": [{ "type": "InternalIP", "address": format!("192.168.{}.{}", number / 250, number % 250 + 1) }] },
        })
    };
    let namespace = |number: usize| {
        let metadata = json!({ "name": format!("team-{number}"), "labels": { "team": number.to_string() } });
        json!({ "metadata": metadata })
    };
    let policy = |number: usize| {
        json!({
            "metadata": { "namespace": format!("team-{number}"), "name": "web" },
            "spec": {
                "podSelector": { "matchLabels": { "app": "web" } },
                "policyTypes": ["Ingress"],
                "ingress": [{ "from": [{ "podSelector": {} }], "ports": [{ "port": 8080 }] }],
            },
        })
    };
    let pod = |number: usize| pod(number, &name(number / PODS));
    let node_pods = |number: usize| {
        let sandboxes: Vec<Value> = (number * PODS..(number + 1) * PODS)
            .map(|pod| {
                json!({
                    "id": format!("{pod:064x}"),
                    "namespace": format!("team-{}", pod % NAMESPACES),
                    "name": pod_name(pod),
                    "uid": uid(pod),
                    "addresses": [address(pod)],
                    "interface": format!("veth{pod:08x}"),
                })
            })
            .collect();
        json!({ "metadata": { "name": name(number), "resourceVersion": "7" }, "spec": { "sandboxes": sandboxes } })
    };
    BTreeMap::from([
        ("/api/v1/nodes", kind("v1", "Node", nodes, node)),
        ("/api/v1/namespaces", kind("v1", "Namespace", NAMESPACES, namespace)),
        ("/api/v1/pods", kind("v1", "Pod", nodes * PODS, pod)),
        (
            "/apis/networking.k8s.io/v1/networkpolicies",
            kind("networking.k8s.io/v1", "NetworkPolicy", NAMESPACES, policy),
        ),
        (
            "/apis/flock.netpol/v1alpha1/nodepods",
            kind("flock.netpol/v1alpha1", "NodePods", if attached { nodes } else { 0 }, node_pods),
        ),
    ])
}

fn kind(api_version: &str, kind: &str, count: usize, object: impl Fn(usize) -> Value) -> Vec<Bytes> {
    let pages = count.div_ceil(PAGE).max(1);
    let page = |page: usize| {
        let mut metadata = json!({ "resourceVersion": "1000" });
        if page + 1 < pages {
            metadata["continue"] = (page + 1).to_string().into();
        }
        let items: Vec<Value> = (page * PAGE..count.min((page + 1) * PAGE)).map(&object).collect();
        let list = json!({ "apiVersion": api_version, "kind": format!("{kind}List"), "metadata": metadata, "items": items });
        list.to_string().into()
    };
    (0..pages).map(page).collect()
}

fn pod_name(number: usize) -> String {
    format!("web-6d4cf56db6-{number:05}")
}

fn uid(number: usize) -> String {
    format!("0b1c7a5e-5a3e-4d5c-9d0e-{number:012x}")
}

fn address(number: usize) -> String {
    let (node, own) = (number / PODS, number % PODS + 2);
    format!("10.{}.{}.{own}", node / 256, node % 256)
}

/// A pod as a cluster has it: most of it is nobody's business here, and has to be read over.
fn pod(number: usize, node: &str) -> Value {
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z" });
    json!({
        "metadata": {
            "name": pod_name(number),
            "generateName": "web-6d4cf56db6-",
            "namespace": format!("team-{}", number % NAMESPACES),
            "uid": uid(number),
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "app": "web", "pod-template-hash": "6d4cf56db6", "tier": "front", "version": "v12" },
            "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z", "prometheus.io/scrape": "true" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db6", "uid": "5f0b4d7e-0000-0000-0000-000000000000", "controller": true, "blockOwnerDeletion": true }],
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": "default",
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "enableServiceLinks": true,
            "containers": [{
                "name": "web",
                "image": "registry.example/team/web:v12",
                "imagePullPolicy": "IfNotPresent",
                "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                "env": [{ "name": "LOG_LEVEL", "value": "info" }, { "name": "POD_IP", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.podIP" } } }],
                "resources": { "limits": { "cpu": "500m", "memory": "256Mi" }, "requests": { "cpu": "100m", "memory": "128Mi" } },
                "readinessProbe": { "httpGet": { "path": "/healthz", "port": "http", "scheme": "HTTP" }, "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3 },
                "volumeMounts": [{ "name": "kube-api-access-x7x2z", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }],
            }],
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ],
            "volumes": [{ "name": "kube-api-access-x7x2z", "projected": { "sources": [{ "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } }], "defaultMode": 420 } }],
        },
        "status": {
            "phase": "Running",
            "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady"), condition("PodScheduled")],
            "hostIP": "192.168.0.1",
            "podIP": address(number),
            "podIPs": [{ "ip": address(number) }],
            "startTime": "2026-01-01T00:00:00Z",
            "containerStatuses": [{ "name": "web", "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } }, "ready": true, "restartCount": 0, "image": "registry.example/team/web:v12", "containerID": "containerd://0123456789abcdef", "started": true }],
            "qosClass": "Burstable",
        },
    })
}
