//! What kubectl prints, piped into `render`: a listing as clusters have it, and the real kubectl.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use axum::Router;
use axum::http::{Uri, header};
use axum::response::Redirect;
use axum::routing::get;
use flock_lab::skipped;
use flock_testkit::{Kind, NAMESPACE, NETWORK_POLICY, NODE, POD};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::api::Api;
use crate::ground::Ground;
use crate::manifests::{render, revision_of};

/// A listing with what real ones are full of: managed fields, null and missing fields, empty statuses, pods of the
/// host's network, completed and pending ones, sidecars, status of every kind.
const LISTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/fixtures/kubectl.yaml");

const KINDS: [Kind; 4] = [POD, NAMESPACE, NODE, NETWORK_POLICY];

/// What `kubectl … | flock-compiler render --manifests - --node NODE` prints, without a word of complaint.
fn piped(listing: &Path, node: &str) -> Vec<u8> {
    let output = render(&["--manifests", "-", "--node", node], Some(listing));
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
    output.stdout
}

#[test]
fn a_listing_of_a_cluster_renders_for_each_node() {
    let script = String::from_utf8(piped(Path::new(LISTING), "worker-1")).unwrap();
    let has = |text: &str| script.contains(text);
    assert!(
        has("10.244.0.7 : goto ingress_") && has("fd00:10:244::7 : goto egress_"),
        "api is isolated both ways"
    );
    assert!(has("tcp . 8080 : goto ingress_"), "a port by its name");
    assert!(has("tcp . 15090 : goto ingress_"), "a sidecar's port by its name");
    assert!(has("_ranges_tcp_") && has("32000-32768 : goto egress_"), "a range of ports");
    assert!(has("203.0.113.0/25") && !has("203.0.113.128"), "a block without its exception");
    for (address, whose) in [("192.0.2.11", "the host network's"), ("10.244.0.9", "a completed pod's")] {
        assert!(!has(address), "{whose} address is no subject and no peer");
    }
    let other = String::from_utf8(piped(Path::new(LISTING), "worker-2")).unwrap();
    assert!(other.contains("10.244.1.5 : goto ingress_denied") && !other.contains("10.244.0.7"));
}

#[test]
fn a_listing_of_a_cluster_loads_into_nft() {
    let Some(ground) = Ground::new("listing") else { return };
    let scripts = [("n1", "worker-1"), ("n2", "worker-2")]
        .map(|(place, node)| (place, piped(Path::new(LISTING), node)));
    for (place, script) in &scripts {
        ground.node(place).nft(std::str::from_utf8(script).unwrap()).unwrap();
        assert!(ground.holds(place, &revision_of(script)));
    }
}

#[test]
fn what_the_real_kubectl_prints_renders_to_the_same() {
    if !Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        skipped("needs kubectl");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let api = Api::start();
    let listing: Value = serde_saphyr::from_str(&fs::read_to_string(LISTING).unwrap()).unwrap();
    for object in listing["items"].as_array().unwrap() {
        let kind = KINDS.into_iter().find(|kind| object["kind"] == kind.kind).unwrap();
        api.put(kind, object.clone());
    }
    let server = with_discovery(&api);
    for format in ["yaml", "json"] {
        let printed = kubectl_get(&server, format, directory.path());
        for node in ["worker-1", "worker-2"] {
            assert_eq!(piped(&printed, node), piped(Path::new(LISTING), node), "{node}, {format}");
        }
    }
}

/// Runs the command of the README and gives the file that holds what it printed.
fn kubectl_get(server: &str, format: &str, directory: &Path) -> PathBuf {
    let printed = directory.join(format!("listing.{format}"));
    let output = Command::new("kubectl")
        .args(["get", "pods,namespaces,networkpolicies,nodes", "-A", "-o", format, "--server", server])
        // Neither this machine's clusters nor its caches.
        .args(["--kubeconfig", "/dev/null", "--cache-dir"])
        .arg(directory.join("cache"))
        .env("HOME", directory)
        .stdin(Stdio::null())
        .stdout(File::create(&printed).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// The URL of a server that answers what kubectl asks first, which resources there are, and sends it to the API
/// server for everything else.
fn with_discovery(api: &Api) -> String {
    let resources = |group: &str| {
        let of_group = |kind: &&Kind| kind.group == group;
        let resource = |kind: &Kind| {
            json!({
                "name": kind.plural,
                "singularName": kind.kind.to_lowercase(),
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": ["get", "list", "watch"],
            })
        };
        let kinds: Vec<&Kind> = KINDS.iter().filter(of_group).collect();
        let resources: Vec<Value> = kinds.iter().map(|kind| resource(kind)).collect();
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": kinds[0].api_version(),
            "resources": resources,
        })
    };
    let group = NETWORK_POLICY.group;
    let version = json!({ "groupVersion": NETWORK_POLICY.api_version(), "version": NETWORK_POLICY.version });
    let groups = json!([{ "name": group, "versions": [version], "preferredVersion": version }]);
    let answers = [
        ("/api".to_owned(), json!({ "kind": "APIVersions", "versions": ["v1"] })),
        ("/apis".to_owned(), json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })),
        ("/api/v1".to_owned(), resources("")),
        (format!("/apis/{}", NETWORK_POLICY.api_version()), resources(group)),
    ];
    let url = api.server.url();
    let mut router =
        Router::new().fallback(move |path: Uri| async move { Redirect::temporary(&format!("{url}{path}")) });
    for (path, answer) in answers {
        let body = answer.to_string();
        router = router.route(&path, get(|| async { ([(header::CONTENT_TYPE, "application/json")], body) }));
    }
    let listener = api.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    api.runtime.spawn(async { axum::serve(listener, router).await });
    format!("http://{address}")
}
