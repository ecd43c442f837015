//! Workloads and Services, where there is no cluster.

use flock_compiler_core::object::{NamedPort, Owner, PodNetwork, PortName, TargetPort, WorkloadKind};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::sorted::Sorted;
use serde_json::{Value, json};

use super::converter;
use crate::{Converted, StandIn, Workloads};

fn read(value: &Value) -> Result<Converted, String> {
    converter().with_workloads(Workloads::StandForPods).object(value).map_err(|error| error.to_string())
}

fn stand_in(value: &Value) -> StandIn {
    let Ok(Converted::StandIn(stand_in)) = read(value) else { panic!("{value}") };
    stand_in
}

/// A workload named `api` in `shop` with this template.
fn workload(api_version: &str, kind: &str, template: &Value) -> Value {
    let spec = match kind {
        "CronJob" => json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}),
        _ => json!({"replicas": 3, "template": template}),
    };
    let metadata = json!({"name": "api", "namespace": "shop", "labels": {"not": "these"}});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

#[test]
fn each_kind_stands_for_its_pods_by_its_template() {
    let template = json!({
        "metadata": {"labels": {"app": "api"}},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 1}]}]},
    });
    for (api_version, kind, name) in [
        ("apps/v1", "Deployment", "deploy/api"),
        ("apps/v1", "StatefulSet", "sts/api"),
        ("apps/v1", "DaemonSet", "ds/api"),
        ("apps/v1", "ReplicaSet", "rs/api"),
        ("batch/v1", "Job", "job/api"),
        ("batch/v1", "CronJob", "cronjob/api"),
    ] {
        let StandIn { pod, workload, controller, is_past } =
            stand_in(&workload(api_version, kind, &template));
        assert_eq!(workload.to_string(), name);
        assert_eq!(pod.owner.0, Owner::StandsFor(workload));
        assert_eq!(pod.title().to_string(), format!("shop/{name}"));
        assert_eq!(pod.key.to_string(), format!("shop/{}", name.replace('/', ".")));
        assert_eq!(pod.labels.iter().collect::<Vec<_>>(), [("app", "api")]);
        let http = NamedPort { name: PortName::new("http"), protocol: Protocol::Tcp, number: 8080 };
        assert_eq!(pod.ports, Sorted::from([http]));
        assert_eq!((pod.node.as_ref(), pod.addresses().map(|all| all.len())), (None, Some(0)));
        assert_eq!((controller, is_past, pod.faults.len()), (None, false, 0));
    }
}

#[test]
fn pods_of_the_hosts_network_have_none_of_their_own() {
    let template = json!({"spec": {"hostNetwork": true, "containers": [{"ports": [{"name": "x"}]}]}});
    let pod = stand_in(&workload("apps/v1", "DaemonSet", &template)).pod;
    assert_eq!((pod.network, pod.ports.len(), pod.faults.len()), (PodNetwork::Host, 0, 0));
}

#[test]
fn without_being_asked_nobody_reads_them() {
    for value in [
        workload("apps/v1", "Deployment", &json!({})),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}}),
    ] {
        assert!(matches!(converter().object(&value), Ok(Converted::Unknown { .. })), "{value}");
    }
    for value in [
        workload("apps.kruise.io/v1", "StatefulSet", &json!({})),
        json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "api"}}),
    ] {
        assert!(matches!(read(&value), Ok(Converted::Unknown { .. })), "{value}");
    }
}

#[test]
fn what_a_template_does_not_state_clearly_is_told_by_its_path() {
    let template = json!({
        "metadata": {"labels": {"v": 1}},
        "spec": {"hostNetwork": "no", "containers": []},
    });
    assert_eq!(
        read(&workload("batch/v1", "CronJob", &template)).unwrap_err(),
        "f.yaml: CronJob shop/api: spec.jobTemplate.spec.template.metadata.labels.v: found 1; expected a string (quote it)\n\
         f.yaml: CronJob shop/api: spec.jobTemplate.spec.template.spec.hostNetwork: found \"no\"; expected true or false"
    );
    let value =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}});
    assert_eq!(
        read(&value).unwrap_err(),
        "f.yaml: Deployment b/a: spec: is missing; expected what its pods are made of"
    );
    let template = json!({"spec": {"containers": [{"ports": [{"name": "zero", "containerPort": 0}]}]}});
    let faults = stand_in(&workload("apps/v1", "Deployment", &template)).pod.faults;
    let field = "spec.template.spec.containers[0].ports[0].containerPort";
    assert_eq!(faults.iter().map(|fault| &*fault.field).collect::<Vec<_>>(), [field]);
    let mut value = workload("apps/v1", "Deployment", &json!({}));
    value["metadata"]["name"] = json!("n".repeat(250));
    assert!(read(&value).unwrap_err().contains("is too long for the name of a pod to be made of it"));
}

#[test]
fn a_workload_knows_what_controls_it_and_whether_it_is_past() {
    let controlled = |kind: &str, by: Value, rest: Value| {
        let group = WorkloadKind::ALL.into_iter().find(|it| it.kind() == kind).unwrap().group();
        let mut value = workload(&format!("{group}/v1"), kind, &json!({}));
        value["metadata"]["ownerReferences"] = by;
        value["spec"]["replicas"] = rest["replicas"].clone();
        value["status"] = rest["status"].clone();
        let StandIn { controller, is_past, .. } = stand_in(&value);
        (controller.map(|it| it.to_string()), is_past)
    };
    let by = |api_version: &str, kind: &str| json!([{"apiVersion": api_version, "kind": kind, "name": "x", "controller": true}]);
    let deployment = by("apps/v1", "Deployment");
    let old = json!({"replicas": 0});
    assert_eq!(
        controlled("ReplicaSet", deployment.clone(), json!({"replicas": 2})),
        (Some("deploy/x".into()), false)
    );
    assert_eq!(controlled("ReplicaSet", deployment.clone(), old.clone()), (Some("deploy/x".into()), true));
    assert_eq!(controlled("ReplicaSet", Value::Null, old.clone()), (None, false));
    assert_eq!(controlled("Deployment", Value::Null, old), (None, false));
    assert_eq!(controlled("Job", by("batch/v1", "CronJob"), Value::Null), (Some("cronjob/x".into()), false));
    // Nothing else controls another one: in a circle none of them would be shown.
    assert_eq!(controlled("Deployment", deployment, Value::Null), (None, false));
    assert_eq!(controlled("Job", by("batch/v1", "Job"), Value::Null), (None, false));
    let status =
        |kind: &str, status: &str| json!({"status": {"conditions": [7, {"type": kind, "status": status}]}});
    for (kind, text, ended) in [
        ("Complete", "True", true),
        ("Failed", "True", true),
        ("Failed", "False", false),
        ("Suspended", "True", false),
    ] {
        assert_eq!(controlled("Job", Value::Null, status(kind, text)), (None, ended), "{kind} {text}");
    }
}

/// A Service with this `spec`: its selector, and its ports as `PROTOCOL PORT TARGET NAME`.
fn service(spec: &Value) -> Result<(Option<String>, Vec<String>), String> {
    let value = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}, "spec": spec});
    let Converted::Service(key, service) = read(&value)? else { panic!("{value}") };
    assert_eq!(key.to_string(), "shop/api");
    let ports = service.ports.iter().map(|port| {
        let target = match &port.target {
            TargetPort::Number(number) => number.to_string(),
            TargetPort::Named(name) => name.to_string(),
        };
        let name = port.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{} {} {target}{name}", port.protocol, port.port)
    });
    assert_eq!(service.is_headless, spec["clusterIP"] == "None");
    Ok((service.selector.map(|selector| selector.to_string()), ports.collect()))
}

#[test]
fn a_service_leads_to_pods_and_their_ports() {
    let spec = json!({"selector": {"app": "api", "tier": "x"}, "ports": [
        {"port": 80, "targetPort": 8080, "name": "web"},
        {"port": 81, "targetPort": "http", "protocol": "TCP", "name": "a-name-of-more-than-15-letters"},
        {"port": 53, "protocol": "UDP", "name": ""},
        {"port": 82, "targetPort": 0, "name": "No Name"},
        {"port": 83, "targetPort": "", "name": 7},
    ]});
    let ports = [
        "TCP 80 8080 web",
        "TCP 81 http a-name-of-more-than-15-letters",
        "UDP 53 53",
        "TCP 82 82",
        "TCP 83 83",
    ];
    let expected = Ok((Some("app=api,tier=x".into()), ports.map(str::to_owned).into()));
    assert_eq!(service(&spec), expected);
    let mut headless = spec;
    headless["clusterIP"] = json!("None");
    assert_eq!(service(&headless), expected);
}

#[test]
fn a_service_has_addresses_and_a_headless_one_has_none() {
    let addresses = |spec: Value| {
        let value = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": spec});
        let Ok(Converted::Service(_, service)) = read(&value) else { panic!("{value}") };
        service.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let both = json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"]});
    assert_eq!(addresses(both), ["10.96.0.1", "fd00::1"]);
    assert_eq!(addresses(json!({"clusterIP": "10.96.0.1"})), ["10.96.0.1"]);
    for spec in [json!({}), json!({"clusterIP": "None", "clusterIPs": ["None"]}), json!({"clusterIP": ""})] {
        assert_eq!(addresses(spec.clone()), [""; 0], "{spec}");
    }
    let cidrs = |spec: Value| {
        let kind = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "a"}, "spec": spec});
        read(&kind).map(|converted| match converted {
            Converted::ServiceCidrs(cidrs) => cidrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        })
    };
    let both = json!({"cidrs": ["10.96.0.0/16", "fd00::/112"]});
    assert_eq!(cidrs(both), Ok(vec!["10.96.0.0/16".into(), "fd00::/112".into()]));
    assert_eq!(cidrs(json!({})), Ok(vec![]));
    assert!(cidrs(json!({"cidrs": ["10.96.0.0/33"]})).unwrap_err().contains("spec.cidrs[0]"));
}

#[test]
fn a_service_may_have_no_pods_of_its_own() {
    for spec in [
        json!(null),
        json!({}),
        json!({"selector": {}}),
        json!({"type": "ExternalName", "externalName": "example.org", "selector": {"app": "api"}}),
    ] {
        assert_eq!(service(&spec), Ok((None, vec![])), "{spec}");
    }
}

#[test]
fn a_service_that_is_not_understood_is_told() {
    let spec = json!({"selector": {"app": 1}, "ports": [
        {"targetPort": 1}, {"port": 0}, {"port": 1, "targetPort": 70000}, {"port": 1, "targetPort": "Http"}, 7,
    ]});
    let told = service(&spec).unwrap_err();
    let fields: Vec<&str> = told
        .lines()
        .map(|line| line.strip_prefix("f.yaml: Service shop/api: ").unwrap().split(": ").next().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.selector.app",
            "spec.ports[0].port",
            "spec.ports[1].port",
            "spec.ports[2].targetPort",
            "spec.ports[3].targetPort",
            "spec.ports[4]",
        ]
    );
}
