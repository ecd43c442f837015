//! Workloads that stand for their pods, unless those are there themselves.

use crate::HostInterfaces;
use crate::Workloads;
use crate::manifests::{Manifests, ReadOptions};

fn read_with(files: &[(&str, &str)], workloads: Workloads) -> Manifests {
    let options = ReadOptions { interfaces: HostInterfaces::None, workloads };
    Manifests::from_bytes(files.iter().map(|(name, text)| (*name, text.as_bytes())), &options)
}

/// The pods of these documents, as they are shown.
fn pods(documents: &[&str]) -> Vec<String> {
    let read = read_with(&[("f.yaml", &documents.join("\n---\n"))], Workloads::StandForPods);
    assert!(read.errors.is_empty(), "{:?}", read.errors);
    read.objects.pods.values().map(|pod| pod.title().to_string()).collect()
}

const TEMPLATE: &str = "template: {metadata: {labels: {app: api}}, spec: {containers: []}}";

fn workload(api_version: &str, kind: &str, name: &str) -> String {
    let spec = match kind {
        "CronJob" => format!("jobTemplate: {{spec: {{{TEMPLATE}}}}}"),
        _ => TEMPLATE.to_owned(),
    };
    format!(
        "{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, spec: {{{spec}}}}}"
    )
}

/// The object, owned by another one.
fn owned(object: &str, api_version: &str, kind: &str, name: &str) -> String {
    let reference = format!("{{apiVersion: {api_version}, kind: {kind}, name: {name}, controller: true}}");
    object.replacen("metadata: {", &format!("metadata: {{ownerReferences: [{reference}], "), 1)
}

/// A pod with a label more than the template has.
fn pod(name: &str, app: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {app}, {more}}}}}}}"
    )
}

#[test]
fn a_workload_without_pods_stands_for_them() {
    let all = [
        workload("apps/v1", "Deployment", "api"),
        workload("apps/v1", "StatefulSet", "api"),
        workload("batch/v1", "CronJob", "api"),
    ];
    let service = "{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {selector: {app: api}}}";
    let files = [("a.yaml", &*all.join("\n---\n")), ("b.yaml", service)];
    let read = read_with(&files, Workloads::StandForPods);
    let shown: Vec<String> = read.objects.pods.values().map(|pod| pod.title().to_string()).collect();
    assert_eq!(shown, ["shop/cronjob/api", "shop/deploy/api", "shop/sts/api"]);
    assert_eq!(read.services.keys().map(ToString::to_string).collect::<Vec<_>>(), ["shop/api"]);
    assert_eq!(
        read.notes,
        ["Namespace shop has no object; assumed with the label kubernetes.io/metadata.name only"]
    );
    assert!(read.workloads.is_empty() && read.errors.is_empty());
    let origin = |title: &str| read.origins.get(title).map(|origin| &**origin);
    assert_eq!(origin("Deployment shop/api"), Some("a.yaml"));
    assert_eq!(origin("Pod shop/deploy.api"), Some("a.yaml"));
    assert_eq!(origin("Service shop/api"), Some("b.yaml"));

    let ignored = read_with(&files, Workloads::Ignored);
    assert!(ignored.objects.pods.is_empty() && ignored.services.is_empty());
    assert_eq!((ignored.workloads.len(), ignored.notes.len()), (3, 4));
}

#[test]
fn a_workload_whose_pods_are_there_is_not_there_twice() {
    let hash = "pod-template-hash: 5f6b";
    let deployment = workload("apps/v1", "Deployment", "api");
    let of_deployment = owned(&pod("api-5f6b-x", "api", hash), "apps/v1", "ReplicaSet", "api-5f6b");
    assert_eq!(pods(&[&deployment, &of_deployment]), ["shop/api-5f6b-x"]);
    // Others with the same labels are not its own.
    let other = owned(&pod("other-0", "api", hash), "apps/v1", "StatefulSet", "other");
    assert_eq!(pods(&[&deployment, &other]), ["shop/deploy/api", "shop/other-0"]);
    assert_eq!(pods(&[&deployment, &pod("alone", "api", hash)]), ["shop/alone", "shop/deploy/api"]);
    // Pods of another template are what is, and the workload is what will be.
    let before = of_deployment.replace("app: api", "app: before");
    assert_eq!(pods(&[&deployment, &before]), ["shop/api-5f6b-x", "shop/deploy/api"]);
    // Elsewhere they are others.
    let elsewhere = of_deployment.replace("namespace: shop", "namespace: bank");
    assert_eq!(pods(&[&deployment, &elsewhere]), ["bank/api-5f6b-x", "shop/deploy/api"]);
    for (api_version, kind, owner) in
        [("apps/v1", "StatefulSet", "api"), ("apps/v1", "DaemonSet", "api"), ("batch/v1", "Job", "api")]
    {
        let pod = owned(&pod("api-0", "api", "x: z"), api_version, kind, owner);
        assert_eq!(pods(&[&workload(api_version, kind, "api"), &pod]), ["shop/api-0"], "{kind}");
    }
}

#[test]
fn what_a_workload_controls_is_not_there_twice() {
    let deployment = workload("apps/v1", "Deployment", "api");
    let set = owned(&workload("apps/v1", "ReplicaSet", "api-5f6b"), "apps/v1", "Deployment", "api");
    assert_eq!(pods(&[&deployment, &set]), ["shop/deploy/api"]);
    assert_eq!(pods(&[&set]), ["shop/rs/api-5f6b"]);
    let past = set.replace("spec: {template", "spec: {replicas: 0, template");
    assert_eq!(pods(&[&past]), [""; 0]);
    let pod_of_set =
        owned(&pod("api-5f6b-x", "api", "pod-template-hash: 5f6b"), "apps/v1", "ReplicaSet", "api-5f6b");
    assert_eq!(pods(&[&set, &pod_of_set]), ["shop/api-5f6b-x"]);

    let cron_job = workload("batch/v1", "CronJob", "backup");
    let job = |name: &str| owned(&workload("batch/v1", "Job", name), "batch/v1", "CronJob", "backup");
    assert_eq!(pods(&[&cron_job, &job("backup-29001234")]), ["shop/cronjob/backup"]);
    let pod_of = |job: &str| owned(&pod("x", "api", "y: z"), "batch/v1", "Job", job);
    // By the time in the name of its Job, or by the Job itself.
    assert_eq!(pods(&[&cron_job, &pod_of("backup-29001234")]), ["shop/x"]);
    assert_eq!(pods(&[&cron_job, &pod_of("manual")]), ["shop/cronjob/backup", "shop/x"]);
    assert_eq!(pods(&[&cron_job, &job("manual"), &pod_of("manual")]), ["shop/x"]);
}

#[test]
fn a_workload_that_is_there_twice_must_be_the_same() {
    let one = workload("apps/v1", "Deployment", "api");
    let other = one.replace("app: api", "app: other");
    assert_eq!(pods(&[&one, &one]), ["shop/deploy/api"]);
    let told = |second: &str| {
        let read = read_with(&[("a.yaml", &one), ("b.yaml", second)], Workloads::StandForPods);
        read.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(&other), ["b.yaml: Deployment shop/api: is also in a.yaml, with different content"]);
    let service = |port: u16| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{ports: [{{port: {port}}}]}}}}"
        )
    };
    let read = read_with(&[("a.yaml", &service(1)), ("b.yaml", &service(2))], Workloads::StandForPods);
    let told: Vec<String> = read.errors.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["b.yaml: Service default/s: is also in a.yaml, with different content"]);
}

#[test]
fn what_translation_does_not_see_is_an_edit_all_the_same() {
    let policy = |codes: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, annotations: \
             {{flock.netpol/ignore: '{codes}'}}}}, spec: {{podSelector: {{}}}}}}"
        )
    };
    let objects = |codes: &str| read_with(&[("a.yaml", &policy(codes))], Workloads::Ignored).objects;
    let (before, after) = (objects("FLK001"), objects("FLK001,FLK002"));
    assert_eq!(before.edits_since(&before), []);
    assert_eq!(after.edits_since(&before).len(), 1);
}
