//! Asking the API server what a cluster is like. What may not be read is told, and the rest is asked all the same.

use std::collections::BTreeMap;

use flock_shared::causes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Node as NodeObject, PodSpec, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::before::{ClusterFacts, ClusterNode, Installed, Readable, Right};
use super::enforcers::Workload;

/// So many objects come in one answer.
const PAGE: u32 = 500;
/// So many rights are asked for at once.
const AT_ONCE: usize = 8;
/// What the installed workloads are called.
const COMPILER: &str = "flock-compiler";
const AGENT: &str = "flock-node-agent";

/// What an install creates: group and resource, those of a namespace first.
pub(crate) const CREATED: &[(&str, &str)] = &[
    ("", "serviceaccounts"),
    ("", "secrets"),
    ("", "configmaps"),
    ("", "services"),
    ("", "resourcequotas"),
    ("apps", "deployments"),
    ("apps", "daemonsets"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("", "namespaces"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
];
/// So many of them are of a namespace.
const IN_NAMESPACE: usize = 10;

/// What is granted to the compiler in the whole cluster. Whoever grants must have it himself, or may `escalate`.
const GRANTED: &[(&str, &str, &[&str])] = &[
    ("", "pods", &["list", "watch"]),
    ("", "namespaces", &["list", "watch"]),
    ("", "nodes", &["get", "list", "watch"]),
    ("networking.k8s.io", "networkpolicies", &["list", "watch"]),
    ("flock.netpol", "nodepods", &["list", "watch", "get", "create", "update"]),
    ("authentication.k8s.io", "tokenreviews", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
];

/// Asks for everything.
///
/// # Errors
/// When the API server does not answer at all.
pub(crate) async fn cluster(client: &Client, namespace: &str) -> Result<ClusterFacts, kube::Error> {
    // First and alone: who does not answer this answers nothing, and one error is enough.
    let version = client.apiserver_version().await?.git_version;
    let (rights, priorities, has_quota, nodes, workloads, proxy_mode, policies, installed) = tokio::join!(
        rights(client, namespace),
        priorities(client),
        has_quota(client, namespace),
        nodes(client),
        workloads(client),
        proxy_mode(client),
        policies(client),
        installed(client, namespace),
    );
    let namespace = namespace.to_owned();
    Ok(ClusterFacts {
        namespace,
        version,
        rights,
        priorities,
        has_quota,
        nodes,
        workloads,
        proxy_mode,
        policies,
        installed,
    })
}

fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => causes(error),
    }
}

/// All objects of a kind, page by page.
async fn all<K>(api: Api<K>) -> Readable<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let mut asked = ListParams::default().limit(PAGE);
        asked.continue_token = next;
        let page = api.list(&asked).await.map_err(|error| told(&error))?;
        found.extend(page.items);
        // The last page has no token, or an empty one.
        next = page.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

async fn may(
    client: &Client,
    verb: &str,
    group: &str,
    resource: &str,
    namespace: Option<&str>,
) -> Readable<Right> {
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
    // Everybody may ask this of himself (`system:basic-user`), and nothing comes about by it.
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await.map_err(|error| told(&error))?;
    let dot = if group.is_empty() { "" } else { "." };
    let words = format!("{verb} {resource}{dot}{group}");
    Ok(Right { words, allowed: answer.status.is_some_and(|status| status.allowed) })
}

/// The rights that an install takes: to create what it creates, and to grant what it grants.
async fn rights(client: &Client, namespace: &str) -> Readable<Vec<Right>> {
    let rbac = "rbac.authorization.k8s.io";
    let escalate = may(client, "escalate", rbac, "clusterroles", None).await?;
    let mut wanted: Vec<(&str, &str, &str, Option<&str>)> = Vec::new();
    for (index, (group, resource)) in CREATED.iter().enumerate() {
        wanted.push(("create", *group, *resource, (index < IN_NAMESPACE).then_some(namespace)));
    }
    if !escalate.allowed {
        for (group, resource, verbs) in GRANTED {
            wanted.extend(verbs.iter().map(|verb| (*verb, *group, *resource, None)));
        }
    }
    let asked =
        wanted.into_iter().map(|(verb, group, resource, scope)| may(client, verb, group, resource, scope));
    // `buffered` keeps the order, so that what is missing is told in the same order each time.
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}

async fn priorities(client: &Client) -> Readable<Vec<String>> {
    let classes = all::<PriorityClass>(Api::all(client.clone())).await?;
    Ok(classes.into_iter().filter_map(|class| class.metadata.name).collect())
}

async fn has_quota(client: &Client, namespace: &str) -> Readable<bool> {
    let quotas = all::<ResourceQuota>(Api::namespaced(client.clone(), namespace)).await?;
    let mut scopes = quotas.iter().filter_map(|quota| quota.spec.as_ref()?.scope_selector.as_ref());
    Ok(scopes.any(|selector| {
        selector.match_expressions.iter().flatten().any(|it| it.scope_name == "PriorityClass")
    }))
}

async fn nodes(client: &Client) -> Readable<Vec<ClusterNode>> {
    Ok(all::<NodeObject>(Api::all(client.clone())).await?.into_iter().map(node).collect())
}

fn node(object: NodeObject) -> ClusterNode {
    let status = object.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
    let (cidrs, cidr) = object.spec.map(|spec| (spec.pod_cidrs, spec.pod_cidr)).unwrap_or_default();
    let pod_cidrs = cidrs.map_or_else(|| usize::from(cidr.is_some()), |all| all.len());
    let name = object.metadata.name.unwrap_or_default();
    let Some(info) = status.node_info else {
        return ClusterNode { name, ready, pod_cidrs, ..ClusterNode::default() };
    };
    ClusterNode {
        name,
        os: info.operating_system,
        architecture: info.architecture,
        kernel: info.kernel_version,
        runtime: info.container_runtime_version,
        kubelet: info.kubelet_version,
        ready,
        pod_cidrs,
    }
}

/// All DaemonSets, as far as they tell something.
pub(crate) async fn workloads(client: &Client) -> Readable<Vec<Workload>> {
    Ok(all::<DaemonSet>(Api::all(client.clone())).await?.iter().map(Workload::from).collect())
}

/// On how many nodes the agents' DaemonSet wants one; `None` where that may not be read, or is not known yet.
pub(crate) async fn agents_wanted(client: &Client, namespace: &str) -> Option<usize> {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    let set = sets.get_opt(AGENT).await.ok()??;
    // Until its controller has seen the newest DaemonSet, the count is that of an older one.
    let status = set.status.filter(|it| it.observed_generation >= set.metadata.generation)?;
    usize::try_from(status.desired_number_scheduled).ok()
}

#[derive(Deserialize)]
struct ProxyConfiguration {
    #[serde(default)]
    mode: String,
}

async fn proxy_mode(client: &Client) -> Readable<Option<String>> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let map = api.get_opt("kube-proxy").await.map_err(|error| told(&error))?;
    // Where something else does the work of kube-proxy, there is no such map, and that is no error.
    let Some(text) = map.and_then(|map| map.data?.remove("config.conf")) else { return Ok(None) };
    let read: Result<ProxyConfiguration, _> = serde_saphyr::from_str(&text);
    read.map(|it| Some(it.mode)).map_err(|error| format!("config.conf cannot be read: {error}"))
}

async fn policies(client: &Client) -> Readable<BTreeMap<String, usize>> {
    let mut by_namespace = BTreeMap::new();
    for policy in all::<NetworkPolicy>(Api::all(client.clone())).await? {
        *by_namespace.entry(policy.metadata.namespace.unwrap_or_default()).or_default() += 1;
    }
    Ok(by_namespace)
}

async fn installed(client: &Client, namespace: &str) -> Readable<Installed> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    let compiler = deployments.get_opt(COMPILER).await.map_err(|error| told(&error))?;
    let agent = sets.get_opt(AGENT).await.map_err(|error| told(&error))?;
    Ok(Installed {
        compiler: compiler.and_then(|it| image(it.spec?.template.spec?)),
        agent: agent.and_then(|it| image(it.spec?.template.spec?)),
    })
}

fn image(spec: PodSpec) -> Option<String> {
    let first = spec.containers.into_iter().next()?;
    Some(first.image.unwrap_or_else(|| "without a name".to_owned()))
}
