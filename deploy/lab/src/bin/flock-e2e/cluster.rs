//! The cluster: objects made, watched and deleted, and packets of its pods.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, AttachParams, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

use crate::cast::{Flow, LABEL, Protocol, Run, Who};
use crate::checks::Addresses;
use crate::options::Options;
use crate::simulate::Sandboxes;

/// Between two looks at objects.
const LOOK: Duration = Duration::from_millis(100);
/// How long a connection that nobody answers is waited for.
const CONNECT: &str = "--timeout=1s";
/// The longest that one command in a pod may take.
const EXEC: Duration = Duration::from_secs(20);
/// How long namespaces that are deleted are waited for.
const GONE: Duration = Duration::from_secs(120);
/// Commands in pods at a time.
const AT_ONCE: usize = 8;

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It came through.
    Reached,
    /// Nothing came back.
    Dropped,
    /// Something else, in words.
    Otherwise(String),
}

/// Whose packets are sent, and how.
pub(crate) enum Hands {
    /// Commands in pods.
    Exec,
    /// The network namespaces that stand in for pods.
    Sandboxes(Arc<Sandboxes>),
}

/// A connection to try.
pub(crate) struct Attempt {
    pub(crate) from: Who,
    pub(crate) protocol: Protocol,
    pub(crate) to: SocketAddr,
}

/// The cluster and this run's part in it.
pub(crate) struct Cluster {
    client: Client,
    pub(crate) run: Run,
    hands: Hands,
}

/// How the cluster that the options name is reached.
pub(crate) async fn config(options: &Options) -> Result<Config> {
    let choice = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    match &options.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            Ok(Config::from_custom_kubeconfig(file, &choice).await?)
        }
        None if options.context.is_some() => Ok(Config::from_kubeconfig(&choice).await?),
        None => Config::infer().await.context("there is no cluster: name one with --kubeconfig FILE"),
    }
}

impl Cluster {
    pub(crate) const fn new(client: Client, run: Run, hands: Hands) -> Self {
        Self { client, run, hands }
    }

    /// Returns true if a kubelet's part is played here.
    pub(crate) const fn is_simulated(&self) -> bool {
        matches!(self.hands, Hands::Sandboxes(_))
    }

    fn in_namespace<K>(&self, short: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.run.namespace(short))
    }

    /// Makes the namespaces and the pods of the cast, and waits until they run.
    pub(crate) async fn prepare(&self, within: Duration) -> Result<Addresses> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for short in ["x", "y"] {
            create(&namespaces, self.run.namespace_object(short)).await?;
        }
        if self.is_simulated() {
            // Where there is no controller manager, nobody else makes them.
            for short in ["x", "y"] {
                let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = self.in_namespace(short);
                match create(&accounts, json!({ "metadata": { "name": "default" } })).await {
                    Err(error) if !is_code(&error, 409) => return Err(error),
                    _ => {}
                }
            }
        }
        for who in Who::ALL {
            self.create_pod(who.namespace(), &self.run.pod(who), within).await?;
        }
        // Waited for once all are created, so that they start at the same time.
        let mut addresses = Addresses::new();
        for who in Who::ALL {
            let is_ready = |pod: &Pod| (condition(pod, "Ready") == Some("True")).then(|| addresses_of(pod));
            let found = self.pod(who.namespace(), who.name(), within, is_ready).await;
            addresses.insert(who, found.with_context(|| format!("pod {}/{}", who.namespace(), who.name()))?);
        }
        Ok(addresses)
    }

    /// A pod, once its namespace has the account that it needs.
    async fn create_pod(&self, short: &str, pod: &Value, within: Duration) -> Result<()> {
        let pods: Api<Pod> = self.in_namespace(short);
        let start = Instant::now();
        loop {
            match create(&pods, pod.clone()).await {
                // A namespace takes no pods until its default ServiceAccount is there.
                Err(error) if is_code(&error, 403) && start.elapsed() < within => sleep(LOOK).await,
                done => return done,
            }
        }
    }

    /// What a look at a pod sees, once it sees something.
    async fn pod<T>(
        &self,
        short: &str,
        name: &str,
        within: Duration,
        see: impl Fn(&Pod) -> Option<T>,
    ) -> Result<T> {
        let pods: Api<Pod> = self.in_namespace(short);
        let start = Instant::now();
        loop {
            let pod = pods.get(name).await?;
            if let Some(seen) = see(&pod) {
                return Ok(seen);
            }
            if start.elapsed() > within {
                let status = serde_json::to_value(pod.status.unwrap_or_default())?;
                bail!("it does not come to what is waited for within {within:?}: {status}");
            }
            sleep(LOOK).await;
        }
    }

    /// How a pod of namespace x ends that is made for it; it is deleted then.
    pub(crate) async fn ends_well(&self, name: &str, pod: &Value, within: Duration) -> Result<bool> {
        self.create_pod("x", pod, within).await?;
        let end = |pod: &Pod| match pod.status.as_ref()?.phase.as_deref()? {
            "Succeeded" => Some(true),
            "Failed" => Some(false),
            _ => None,
        };
        let ended = self.pod("x", name, within, end).await.with_context(|| format!("pod x/{name}"))?;
        let pods: Api<Pod> = self.in_namespace("x");
        pods.delete(name, &DeleteParams::default()).await?;
        Ok(ended)
    }

    /// Whether a pod is ready, and how often its containers were started anew.
    pub(crate) async fn readiness(&self, who: Who) -> Result<(bool, i32)> {
        let pods: Api<Pod> = self.in_namespace(who.namespace());
        let pod = pods.get(who.name()).await?;
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let restarts = statuses.map(|status| status.restart_count).sum();
        Ok((condition(&pod, "Ready") == Some("True"), restarts))
    }

    /// Gives a pod another role.
    pub(crate) async fn relabel(&self, who: Who, role: &str) -> Result<()> {
        let pods: Api<Pod> = self.in_namespace(who.namespace());
        let patch = json!({ "metadata": { "labels": { "role": role } } });
        pods.patch(who.name(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Makes these the policies of namespace x, and no others.
    pub(crate) async fn set_policies(&self, specs: &[Value]) -> Result<()> {
        let policies: Api<NetworkPolicy> = self.in_namespace("x");
        // New ones first: between the two nothing is open that neither would leave open.
        let old = policies.list(&ListParams::default()).await?.items;
        for (number, spec) in specs.iter().enumerate() {
            // Names that are not taken: the old ones are still there.
            let name = format!("p-{}-{number}", short_time());
            create(&policies, self.run.policy(&name, spec)).await?;
        }
        for name in old.into_iter().filter_map(|policy| policy.metadata.name) {
            policies.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// Makes a service of web; its address.
    pub(crate) async fn service(&self) -> Result<IpAddr> {
        let services: Api<Service> = self.in_namespace("x");
        let address = match &self.hands {
            Hands::Exec => None,
            Hands::Sandboxes(_) => Some("10.96.0.80"),
        };
        create(&services, self.run.service(address)).await?;
        let service = services.get("web").await?;
        let address =
            service.spec.and_then(|spec| spec.cluster_ip).context("a service without an address")?;
        Ok(address.parse()?)
    }

    pub(crate) async fn delete_service(&self) -> Result<()> {
        let services: Api<Service> = self.in_namespace("x");
        services.delete("web", &DeleteParams::default()).await?;
        Ok(())
    }

    /// What becomes of connections, in their order.
    pub(crate) async fn try_all(&self, attempts: &[Attempt]) -> Result<Vec<Reach>> {
        match &self.hands {
            Hands::Sandboxes(sandboxes) => sandboxes.try_all(attempts),
            Hands::Exec => {
                let mut all = Vec::new();
                for some in attempts.chunks(AT_ONCE) {
                    let reached = join_all(some.iter().map(|attempt| self.connect(attempt))).await;
                    all.extend(reached.into_iter().collect::<Result<Vec<_>>>()?);
                }
                Ok(all)
            }
        }
    }

    /// Has a pod connect, by what its image has for that.
    async fn connect(&self, Attempt { from, protocol, to }: &Attempt) -> Result<Reach> {
        let pods: Api<Pod> = self.in_namespace(from.namespace());
        let (protocol, to) = (format!("--protocol={}", protocol.as_str()), to.to_string());
        let command = ["/agnhost", "connect", CONNECT, &protocol, &to];
        // The first container: all of a pod have one network.
        let container = from.serves().first().map_or("pause", |(name, ..)| name);
        let exec = async {
            let how = AttachParams::default().container(container).stdout(false).stderr(true);
            let mut process = pods.exec(from.name(), command, &how).await?;
            let (status, mut words) = (process.take_status(), String::new());
            if let Some(mut errors) = process.stderr() {
                errors.read_to_string(&mut words).await?;
            }
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            anyhow::Ok((status.and_then(|status| status.status), words))
        };
        let place = || format!("a command in pod {}/{}", from.namespace(), from.name());
        let (status, words) = timeout(EXEC, exec).await.with_context(place)?.with_context(place)?;
        Ok(reach(status.as_deref(), &words))
    }

    /// Deletes all that this run has made, and waits until it is gone.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for short in ["x", "y"] {
            // Where nobody does that for a namespace that ends.
            delete_all::<NetworkPolicy>(&self.in_namespace(short)).await?;
            delete_all::<Service>(&self.in_namespace(short)).await?;
            delete_all::<Pod>(&self.in_namespace(short)).await?;
            let deleted = namespaces.delete(&self.run.namespace(short), &DeleteParams::default()).await;
            if let Err(error) = deleted
                && !matches!(&error, Error::Api(status) if status.code == 404)
            {
                return Err(error.into());
            }
        }
        let start = Instant::now();
        let ours = ListParams::default().labels(&format!("{LABEL}={}", self.run.id));
        while !namespaces.list(&ours).await?.items.is_empty() {
            // No controller ends them where there are no kubelets either.
            if self.is_simulated() {
                break;
            }
            ensure!(start.elapsed() < GONE, "the namespaces are deleted, and not gone after {GONE:?}");
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// What `agnhost connect` said.
fn reach(status: Option<&str>, words: &str) -> Reach {
    match (status, words.trim()) {
        (Some("Success"), _) => Reach::Reached,
        (Some(_), words) if words.starts_with("TIMEOUT") => Reach::Dropped,
        (Some(_), words) => Reach::Otherwise(words.to_owned()),
        (None, _) => Reach::Otherwise("the command's end is not known".to_owned()),
    }
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
{
    let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
    let object: K = serde_json::from_value(object).with_context(|| format!("object {name}"))?;
    api.create(&PostParams::default(), &object).await.with_context(|| format!("creating {name}")).map(drop)
}

async fn delete_all<K>(api: &Api<K>) -> Result<()>
where
    K: kube::Resource + DeserializeOwned + Clone + std::fmt::Debug,
{
    for name in
        api.list(&ListParams::default()).await?.items.into_iter().filter_map(|it| it.meta().name.clone())
    {
        match api.delete(&name, &DeleteParams::default()).await {
            Err(Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted?),
        }
    }
    Ok(())
}

fn is_code(error: &anyhow::Error, code: u16) -> bool {
    matches!(error.downcast_ref::<Error>(), Some(Error::Api(status)) if status.code == code)
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|it| it.type_ == kind).map(|it| it.status.as_str())
}

fn addresses_of(pod: &Pod) -> Vec<IpAddr> {
    let all = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    all.filter_map(|it| it.ip.parse().ok()).collect()
}

/// What is different in names that are made one after another.
fn short_time() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", since.as_millis() & 0xfff_ffff)
}

/// A name for a run that no other has.
pub(crate) fn run_id() -> String {
    format!("{}-{:x}", short_time(), std::process::id() & 0xffff)
}

/// Nodes that pods can run on: those that were asked for, else two that are ready and take pods, else one.
pub(crate) async fn nodes(client: &Client, wanted: &[String]) -> Result<Vec<String>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let all = nodes.list(&ListParams::default()).await.context("listing nodes")?.items;
    let names: BTreeMap<String, Node> =
        all.into_iter().filter_map(|node| Some((node.metadata.name.clone()?, node))).collect();
    if !wanted.is_empty() {
        ensure!(wanted.len() <= 2, "two nodes are enough, {} were named", wanted.len());
        let missing = wanted.iter().find(|name| !names.contains_key(*name));
        ensure!(missing.is_none(), "there is no node {}", missing.map_or("", String::as_str));
        return Ok(wanted.to_vec());
    }
    let takes_pods = |node: &Node| {
        // A taint that only wishes to be avoided keeps no pod away.
        let is_closed = node.spec.as_ref().is_some_and(|spec| {
            let taints = spec.taints.iter().flatten();
            spec.unschedulable == Some(true)
                || taints.into_iter().any(|taint| taint.effect != "PreferNoSchedule")
        });
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        !is_closed && conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
    };
    let found: Vec<String> =
        names.into_iter().filter(|(_, node)| takes_pods(node)).map(|(name, _)| name).take(2).collect();
    ensure!(!found.is_empty(), "no node is ready and takes pods: name one with --nodes");
    Ok(found)
}

/// Each way of a flow: by each family that its target has an address of.
pub(crate) fn attempts(flow: Flow, addresses: &Addresses) -> Vec<Attempt> {
    let of = |who: Who| addresses.get(&who).into_iter().flatten();
    let has_family = |address: &IpAddr| of(flow.from).any(|own| own.is_ipv4() == address.is_ipv4());
    let targets = of(flow.to).filter(|address| has_family(address));
    targets
        .map(|&address| Attempt {
            from: flow.from,
            protocol: flow.protocol,
            to: SocketAddr::new(address, flow.port),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cast::CLIENT_WEB;

    #[test]
    fn the_words_of_the_image_tell_drops_from_refusals() {
        assert_eq!(reach(Some("Success"), ""), Reach::Reached);
        assert_eq!(reach(Some("Failure"), "TIMEOUT\n"), Reach::Dropped);
        assert_eq!(reach(Some("Failure"), "REFUSED\n"), Reach::Otherwise("REFUSED".into()));
        assert!(matches!(reach(None, ""), Reach::Otherwise(_)), "a broken connection is no drop");
    }

    #[test]
    fn a_flow_goes_by_each_family_that_both_ends_have() {
        let dual: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let count = |from: &[IpAddr], to: &[IpAddr]| {
            let all = Addresses::from([(Who::Client, from.to_vec()), (Who::Web, to.to_vec())]);
            attempts(CLIENT_WEB, &all).len()
        };
        assert_eq!([count(&dual, &dual), count(&dual[1..], &dual), count(&dual[..1], &dual[1..])], [2, 1, 0]);
    }
}
