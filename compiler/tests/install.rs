//! The manifests that install the programs: every field is one that Kubernetes knows, the names in them are those that the
//! programs look for, and what they start the programs with is taken. `deploy/kubernetes/check` looks at everything else that
//! is given to a cluster, the chart and the overlays too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use clap::Parser as _;
use flock_compiler::cli::{Cli, Command};
use flock_shared::access;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every object of the manifest, by kind and name.
fn objects() -> BTreeMap<(String, String), Value> {
    objects_of("install.yaml")
}

fn objects_of(manifest: &str) -> BTreeMap<(String, String), Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes");
    let text = std::fs::read_to_string(format!("{folder}/{manifest}")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let text = |object: &Value, at: &str| object.pointer(at).and_then(Value::as_str).unwrap().to_owned();
    let entry = |object: Value| ((text(&object, "/kind"), text(&object, "/metadata/name")), object);
    objects.into_iter().map(entry).collect()
}

/// Fails if a field of the object is not one of its type: reading drops those, so they are missing when it is written.
fn same<T: DeserializeOwned + Serialize>(object: &Value) {
    let read: T = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), *object);
}

fn find<'a>(objects: &'a BTreeMap<(String, String), Value>, kind: &str, name: &str) -> &'a Value {
    objects.get(&(kind.to_owned(), name.to_owned())).unwrap_or_else(|| panic!("{kind} {name}"))
}

#[test]
fn every_field_is_known() {
    for ((kind, name), object) in &objects() {
        match kind.as_str() {
            "CustomResourceDefinition" => same::<CustomResourceDefinition>(object),
            "Namespace" => same::<Namespace>(object),
            "ServiceAccount" => same::<ServiceAccount>(object),
            "Secret" => same::<Secret>(object),
            "ConfigMap" => same::<ConfigMap>(object),
            "Service" => same::<Service>(object),
            "ResourceQuota" => same::<ResourceQuota>(object),
            "ClusterRole" => same::<ClusterRole>(object),
            "ClusterRoleBinding" => same::<ClusterRoleBinding>(object),
            "Role" => same::<Role>(object),
            "RoleBinding" => same::<RoleBinding>(object),
            "PodDisruptionBudget" => same::<PodDisruptionBudget>(object),
            "Deployment" => same::<Deployment>(object),
            "DaemonSet" => same::<DaemonSet>(object),
            _ => panic!("{kind} {name}"),
        }
    }
}

#[test]
fn the_programs_find_what_they_look_for() {
    let objects = objects();
    let service = find(&objects, "Service", access::SERVICE);
    assert_eq!(service["metadata"]["namespace"], access::NAMESPACE);
    assert_eq!(service["spec"]["ports"][0]["port"], access::PORT);
    find(&objects, "ConfigMap", access::CA_CONFIG_MAP);
    find(&objects, "Secret", access::TLS_SECRET);
    find(&objects, "ServiceAccount", access::CLIENT_ACCOUNT);
    let viewer = find(&objects, "ClusterRole", "flock-viewer");
    assert_eq!(viewer["rules"][0]["apiGroups"][0], access::API_GROUP);
    let resources = [access::NODE_SCRIPTS, access::POLICY_EXPLANATIONS, access::POLICY_DROPS];
    assert_eq!(viewer["rules"][0]["resources"], serde_json::json!(resources));

    let agent = find(&objects, "DaemonSet", access::AGENT_ACCOUNT);
    let pod = &agent["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], access::AGENT_ACCOUNT);
    let volumes = pod["volumes"].as_array().unwrap();
    let token = volumes.iter().find_map(|volume| volume.pointer("/projected/sources/0/serviceAccountToken"));
    assert_eq!(token.unwrap()["audience"], access::AUDIENCE);
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    let server = format!("--server-name={}.{}.svc", access::SERVICE, access::NAMESPACE);
    assert!(arguments.iter().any(|argument| *argument == *server), "{arguments:?}");

    let compiler = find(&objects, "Deployment", access::SERVICE);
    let label = &compiler["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"];
    assert_eq!(label, access::SERVICE);
}

/// Values of options, too: those of all programs are looked at by name only elsewhere.
#[test]
fn the_compiler_takes_what_it_is_started_with() {
    let objects = objects();
    let pod = &find(&objects, "Deployment", access::SERVICE)["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
    let Command::Serve(serve) =
        Cli::try_parse_from(["flock-compiler"].into_iter().chain(arguments)).unwrap().command
    else {
        panic!("it does not serve");
    };
    serve.check().unwrap();
    assert!(serve.is_secured(serve.listen) && serve.is_secured(serve.admin_listen));
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|it| it["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
    };
    assert_eq!(
        [port("grpc"), port("admin")],
        [serve.listen, serve.admin_listen].map(|it| u64::from(it.port()))
    );
}

#[test]
fn agents_may_do_nothing_with_the_api_server() {
    let bindings = objects().into_iter().filter(|((kind, _), _)| kind.ends_with("RoleBinding"));
    for (name, binding) in bindings {
        let subjects = binding["subjects"].as_array().unwrap();
        assert!(subjects.iter().all(|subject| subject["name"] != access::AGENT_ACCOUNT), "{name:?}");
    }
}

/// Units are root on the host: who wants that says so.
#[test]
fn what_restores_at_boot_is_a_manifest_of_its_own() {
    let restore = objects_of("restore.yaml");
    let installer = find(&restore, "DaemonSet", "flock-restore");
    same::<DaemonSet>(installer);
    assert_eq!((restore.len(), &installer["metadata"]["namespace"]), (1, &access::NAMESPACE.into()));
    let (pod, default) = (&installer["spec"]["template"]["spec"], objects());
    let agent = find(&default, "DaemonSet", access::AGENT_ACCOUNT);
    let pod_of_agent = &agent["spec"]["template"]["spec"];
    // What install-restore takes unless it is told otherwise; uninstall-restore takes the same arguments.
    let state = pod_of_agent["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "state");
    assert_eq!(state.unwrap()["hostPath"]["path"], "/var/lib/flock");
    assert_eq!(pod["containers"][0]["args"], serde_json::json!(["install-restore", "--host-root=/host"]));
    assert_eq!(pod["containers"][0]["image"], pod_of_agent["containers"][0]["image"]);
    for object in default.values() {
        let text = object.to_string();
        assert!(!text.contains("systemd") && !text.contains("install-restore"), "{text}");
    }
}

/// It goes wherever agents are, and looks where they and what restores at boot have left something.
#[test]
fn what_uninstalls_follows_the_agents() {
    let [plain, with_unit, restore] =
        ["uninstall.yaml", "uninstall-restore.yaml", "restore.yaml"].map(objects_of);
    let default = objects();
    let agent = find(&default, "DaemonSet", access::AGENT_ACCOUNT);
    let restorer = find(&restore, "DaemonSet", "flock-restore");
    follows(&plain, agent, &[], &["cni", "tables", "clean"]);
    follows(&with_unit, agent, &[restorer], &["cni", "tables", "unit", "clean"]);
}

fn follows(manifest: &BTreeMap<(String, String), Value>, agent: &Value, others: &[&Value], steps: &[&str]) {
    let remover = find(manifest, "DaemonSet", "flock-netpol-uninstall");
    same::<DaemonSet>(remover);
    assert_eq!(manifest.len(), 1);
    let namespace = "/metadata/namespace";
    assert_eq!(remover.pointer(namespace), agent.pointer(namespace));
    // Else whoever applies it merges it with the agents'.
    assert_ne!(remover["spec"]["selector"], agent["spec"]["selector"]);
    let of_pod =
        |object: &Value, field: &str| object.pointer(&format!("/spec/template/spec/{field}")).cloned();
    let placement = ["serviceAccountName", "hostNetwork", "tolerations", "nodeSelector", "priorityClassName"];
    for field in placement {
        assert_eq!(of_pod(remover, field), of_pod(agent, field), "{field}");
    }
    let folders = |object: &Value| -> Vec<Value> {
        let volumes = of_pod(object, "volumes").unwrap();
        volumes.as_array().unwrap().iter().filter_map(|it| it.pointer("/hostPath/path").cloned()).collect()
    };
    let mut installed = folders(agent);
    installed.extend(others.iter().flat_map(|other| folders(other)));
    // The plugin's binary stays, and the agent's socket goes with the node's next start.
    installed.retain(|path| path != "/opt/cni/bin" && path != "/run/flock");
    installed.sort_by_key(ToString::to_string);
    let mut removed = folders(remover);
    removed.sort_by_key(ToString::to_string);
    assert_eq!(removed, installed);
    let containers = |object: &Value, field: &str| of_pod(object, field).unwrap().as_array().unwrap().clone();
    let image = &containers(agent, "containers")[0]["image"];
    let found = [containers(remover, "initContainers"), containers(remover, "containers")].concat();
    assert!(found.iter().all(|step| step["image"] == *image && step["imagePullPolicy"] == "IfNotPresent"));
    let names: Vec<_> = found.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, steps, "the order of their steps");
}

/// What the page on removal has replaced is there to be: a variable beside an argument would change nothing.
#[test]
fn the_argument_that_removal_changes_is_there() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/life.md")).unwrap();
    let (_, change) = page.split_once("sed s/").unwrap();
    let (from, to) = change.split_once('/').unwrap();
    let to = to.split_once('/').unwrap().0;
    let objects = objects();
    let compiler = find(&objects, "Deployment", access::SERVICE);
    let arguments = compiler.pointer("/spec/template/spec/containers/0/args").unwrap().as_array().unwrap();
    assert!(arguments.iter().any(|it| *it == *from), "{from}: {arguments:?}");
    for argument in [from, to] {
        assert!(Cli::try_parse_from(["flock-compiler", "serve", argument]).is_ok(), "{argument}");
    }
}
