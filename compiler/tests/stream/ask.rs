//! Questions: what is answered of the objects, and of what agents have acknowledged.

use flock_compiler::engine::Desired;
use flock_compiler::service::Limits;
use flock_compiler_core::object::{
    IpBlock, Peer, PeerMatch, Policy, PolicyBody, PolicyRules, Rule, RulePorts,
};
use flock_compiler_core::{Change, Edit, Selector};
use flock_proto::v1::ask_service_client::AskServiceClient;
use flock_proto::v1::end::End as EndOf;
use flock_proto::{Outcome, v1};
use flock_shared::PolicyKey;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::compiler::{API_SERVER, Compiler, patiently};
use super::objects::{NAMESPACE, cluster, node_name};

const CONTRADICTIONS: &str = "flock_compiler_contradictions_total";

fn pod(number: usize) -> Option<v1::End> {
    let name = v1::PodName { namespace: NAMESPACE.to_owned(), name: format!("pod-{number}") };
    Some(v1::End { end: Some(EndOf::Pod(name)) })
}

fn tcp(number: u32) -> Option<v1::Port> {
    Some(v1::Port { protocol: "TCP".to_owned(), number })
}

async fn client(compiler: &Compiler) -> AskServiceClient<Channel> {
    AskServiceClient::new(compiler.dial().await.0)
}

/// The explanation of what pod-0 sends to pod-1.
async fn explained(client: &mut AskServiceClient<Channel>) -> v1::Explanation {
    let request = v1::ExplainRequest { from: pod(0), to: pod(1), port: tcp(80) };
    let response = patiently(client.explain(request)).await.unwrap().into_inner();
    response.explanations.into_iter().next().unwrap()
}

async fn all<T>(answered: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Result<Vec<T>, Status> {
    let mut rows = answered?.into_inner();
    let mut all = Vec::new();
    while let Some(row) = patiently(rows.message()).await? {
        all.push(row);
    }
    Ok(all)
}

/// Isolates every pod for ingress, and allows nothing.
fn deny() -> Change {
    let body = PolicyBody::Understood(PolicyRules { ingress: Some([].into()), egress: None });
    let key = PolicyKey::new(NAMESPACE, "own").unwrap();
    Change::Policy(Edit::Replace(vec![Policy::new(key, Selector::everything(), body)]))
}

/// Waits until the mirror knows what is published.
async fn mirrored(compiler: &Compiler, desired: &Desired) {
    let published = desired.borrow().as_ref().unwrap().sequence();
    let mut reached = compiler.context.engine.mirror().reached();
    patiently(reached.wait_for(|reached| *reached >= published)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_held_against_the_table_that_the_node_has_acknowledged() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let mut client = client(&compiler).await;
    let before = explained(&mut client).await;
    assert!(before.allowed);
    // Egress is judged by node-0, ingress by node-1.
    let nodes = |it: &v1::Explanation| it.evidence.iter().map(|it| it.node.clone()).collect::<Vec<_>>();
    assert_eq!(nodes(&before), [node_name(0).to_string(), node_name(1).to_string()]);
    assert!(before.evidence.iter().all(|it| it.revision.is_none() && it.table_passes.is_none()));

    let mut agent = compiler.agent(1, None).await;
    agent.apply().await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 1).await;
    let known = explained(&mut client).await;
    let evidence = &known.evidence[1];
    let revision = compiler.revision(1).await;
    assert_eq!(evidence.revision.as_deref(), Some(revision.as_str()), "{evidence:?}");
    assert_eq!((evidence.table_passes, evidence.objects_pass), (Some(true), Some(true)), "{evidence:?}");
    assert!(evidence.current && !evidence.contradiction, "{evidence:?}");

    // The objects have changed, and the node has not heard of it: both answers are shown, and none contradicts.
    let mut desired = compiler.desired(1).await;
    desired.mark_unchanged();
    compiler.tell(deny().into()).await;
    patiently(desired.changed()).await.unwrap();
    mirrored(&compiler, &desired).await;
    let behind = explained(&mut client).await;
    assert!(!behind.allowed);
    let evidence = &behind.evidence[1];
    assert_eq!(evidence.revision.as_deref(), Some(revision.as_str()), "{evidence:?}");
    assert!(!evidence.current && !evidence.contradiction, "{evidence:?}");
    assert_eq!((evidence.table_passes, evidence.objects_pass), (Some(true), Some(true)), "{evidence:?}");

    agent.apply().await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 2).await;
    let evidence = explained(&mut client).await.evidence.remove(1);
    assert_eq!((evidence.table_passes, evidence.objects_pass), (Some(false), Some(false)), "{evidence:?}");
    assert!(evidence.current, "{evidence:?}");
    assert_eq!(compiler.metric(CONTRADICTIONS), 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_names_the_address_of_the_api_servers_service_is_told() {
    let block = |cidr: &str| Peer::Block(IpBlock::new(cidr.parse().unwrap(), &[]).unwrap());
    let peers = vec![block(&format!("{API_SERVER}/32")), block("192.0.2.7/32")];
    let rule = Rule { peers: PeerMatch::OneOf(peers), ports: RulePorts::Any };
    let body = PolicyBody::Understood(PolicyRules { ingress: None, egress: Some([rule].into()) });
    let key = PolicyKey::new(NAMESPACE, "own").unwrap();
    let policy = Policy::new(key, Selector::everything(), body);
    // A finding is told once it has been there for a while, as what was there at the start has: before the last listing.
    let mut listings = cluster(2, 0);
    listings.insert(listings.len() - 1, Change::Policy(Edit::Replace(vec![policy])).into());
    let compiler = Compiler::start_of(listings, 2, 2, Limits::default()).await;
    let mut client = client(&compiler).await;
    let found = all(patiently(client.lint(v1::LintRequest::default())).await).await.unwrap();
    let found: Vec<_> = found.iter().filter(|finding| finding.code == "FLK008").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].field, "spec.egress[0].to[0].ipBlock.cidr");
    assert!(found[0].message.contains("the address of Service default/kubernetes"), "{}", found[0].message);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_closed_contradicts_nothing() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let mut agent = compiler.agent(1, None).await;
    let refused = agent.update().await.revision;
    for _ in 0..2 {
        agent.answer(&refused, Outcome::NftFailed).await;
    }
    let closed = agent.update().await.revision;
    agent.answer(&closed, Outcome::Applied).await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 1).await;
    let mut client = client(&compiler).await;
    let explained = explained(&mut client).await;
    let evidence = &explained.evidence[1];
    assert_eq!(evidence.revision.as_deref(), Some(closed.as_str()));
    assert_eq!((evidence.table_passes, evidence.contradiction), (Some(false), false), "{evidence:?}");
    assert_eq!(compiler.metric(CONTRADICTIONS), 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_enforced_where_nodes_have_acknowledged_it() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let mut client = client(&compiler).await;
    let request = v1::ListPoliciesRequest { namespace: NAMESPACE.to_owned(), name: "own".to_owned() };
    let mut list = async || {
        let rows = all(patiently(client.list_policies(request.clone())).await).await.unwrap();
        assert_eq!(rows.len(), 1);
        rows.into_iter().next().unwrap()
    };
    let row = list().await;
    assert_eq!((row.pods, row.nodes, row.enforced), (2, 2, Some(0)));
    assert_eq!(row.missing, [node_name(0).to_string(), node_name(1).to_string()]);
    let mut agents = [compiler.agent(0, None).await, compiler.agent(1, None).await];
    agents[0].apply().await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 1).await;
    let row = list().await;
    assert_eq!((row.enforced, row.since.is_some()), (Some(1), false));
    assert_eq!(row.missing, [node_name(1).to_string()]);
    agents[1].apply().await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 2).await;
    let row = list().await;
    assert_eq!((row.enforced, row.missing.len(), row.since.is_some()), (Some(2), 0, true));
    // It says something else from here on, which no node has.
    let mut desired = compiler.desired(0).await;
    desired.mark_unchanged();
    compiler.tell(deny().into()).await;
    patiently(desired.changed()).await.unwrap();
    mirrored(&compiler, &desired).await;
    assert_eq!(list().await.enforced, Some(0));
    agents[0].apply().await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 3).await;
    assert_eq!(list().await.enforced, Some(1));
}

#[tokio::test(start_paused = true)]
async fn passes_and_who_has_acknowledged_them_are_recorded() {
    let mut compiler = Compiler::start(2, Limits::default()).await;
    let mut agents = [compiler.agent(0, None).await, compiler.agent(1, None).await];
    compiler.change().await;
    mirrored(&compiler, &compiler.desired(0).await).await;
    let mut client = client(&compiler).await;
    let mut list = async |namespace: &str| {
        let request = v1::ListPassesRequest { namespace: namespace.to_owned(), since: None };
        all(patiently(client.list_passes(request)).await).await
    };
    let rows = list(NAMESPACE).await.unwrap();
    let newest = rows.last().unwrap();
    assert_eq!((&newest.objects[..], newest.objects_total), (&["Pod default/pod-2".to_owned()][..], 1));
    assert_eq!((newest.nodes, newest.acknowledged, newest.acknowledged_by.is_some()), (2, 0, false));
    for agent in &mut agents {
        agent.apply().await;
    }
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 2).await;
    // Agents may have been sent the state before first.
    for (number, agent) in agents.iter_mut().enumerate() {
        if agent.memory.applied.as_ref() != Some(&compiler.revision(number).await) {
            agent.apply().await;
        }
    }
    let newest = patiently(async {
        loop {
            let newest = list("").await.unwrap().pop().unwrap();
            if newest.acknowledged == 2 {
                return newest;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(newest.acknowledged_by.is_some());
    assert_eq!(list("elsewhere").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(list("No Namespace").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn what_policies_open_and_close_is_counted_and_of_pods_it_is_not_known() {
    let mut compiler = Compiler::start(2, Limits::default()).await;
    compiler.change().await;
    let mut desired = compiler.desired(0).await;
    let own = PolicyKey::new(NAMESPACE, "own").unwrap();
    for change in [deny(), Change::Policy(Edit::Delete(own))] {
        desired.mark_unchanged();
        compiler.tell(change.into()).await;
        patiently(desired.changed()).await.unwrap();
    }
    mirrored(&compiler, &desired).await;
    let mut client = client(&compiler).await;
    let request = v1::ListPassesRequest { namespace: NAMESPACE.to_owned(), since: None };
    let rows = all(patiently(client.list_passes(request)).await).await.unwrap();
    let [.., pod, shut, open] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((pod.opened, pod.closed), (None, None));
    assert!(shut.opened == Some(0) && shut.closed > Some(0), "{shut:?}");
    assert!(open.opened > Some(0) && open.closed == Some(0), "{open:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_has_what_is_not_among_the_objects() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let mut agent = compiler.agent(1, None).await;
    let (applied, _) = agent.apply().await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 1).await;
    let mut client = client(&compiler).await;
    let request = v1::GetReceiptRequest::default();
    let receipt = patiently(client.get_receipt(request)).await.unwrap().into_inner();
    let told: Vec<_> =
        receipt.nodes.iter().map(|it| (it.node.as_str(), it.applied_revision.as_deref())).collect();
    assert_eq!(told, [("node-0", None), ("node-1", Some(applied.as_str()))]);
    assert_eq!(receipt.nodes[1].desired_revision, applied.to_string());
    assert_eq!(receipt.options["unreadyPods"], "expected");
    assert_eq!(receipt.policies[0].name, "own");
}

#[tokio::test(start_paused = true)]
async fn questions_that_cannot_be_asked_are_refused() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let mut client = client(&compiler).await;
    let mut code = async |to: Option<v1::End>| {
        let request = v1::ExplainRequest { from: pod(0), to, port: tcp(80) };
        patiently(client.explain(request)).await.unwrap_err().code()
    };
    assert_eq!(code(None).await, Code::InvalidArgument);
    assert_eq!(code(pod(77)).await, Code::NotFound);
    let address = v1::End { end: Some(EndOf::Address("10.0.0".to_owned())) };
    assert_eq!(code(Some(address)).await, Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn what_would_change_is_previewed_from_manifests() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let mut client = client(&compiler).await;
    let content = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                   metadata: {name: shut, namespace: default}\nspec: {podSelector: {}, policyTypes: [Egress]}\n";
    let manifest = |content: &'static str| v1::PreviewRequest {
        manifests: vec![v1::Manifest { origin: "new.yaml".to_owned(), content: content.as_bytes().into() }],
        delete: Vec::new(),
    };
    let rows = all(patiently(client.preview(manifest(content))).await).await.unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.change() == v1::Change::Closed), "{rows:?}");
    let wrong = all(patiently(client.preview(manifest("kind: NetworkPolicy\n"))).await).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().starts_with("new.yaml: "), "{wrong:?}");
}
