//! The compiler by its URL, and when nobody says where it is.

use std::path::PathBuf;

use flock_testkit::compiler::NAME;
use tempfile::TempDir;

use crate::forwarding::nobody;
use crate::site::{Site, bare, end};

const OWN_TOKEN: &str = "the-token-in-a-file";

/// The options of a URL with TLS, and the file of the token.
fn options(site: &Site) -> (String, PathBuf) {
    let write = |name: &str, text: &str| {
        let path = site.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, token) = (write("ca.crt", &site.compiler.ca), write("token", &format!("{OWN_TOKEN}\n")));
    let url = format!("--compiler https://{} --ca-file {}", site.compiler.address, ca.display());
    (url, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_by_url_needs_an_authority_a_name_and_shows_a_token() {
    let site = Site::start().await;
    let (url, token) = options(&site);
    let all = format!("{url} --server-name {NAME} --token-file {}", token.display());
    assert!(site.prints(&format!("nodes {all}")).await.contains("n1"));
    let shown = site.compiler.debug.authorizations.lock().unwrap().clone();
    assert_eq!(shown, [format!("Bearer {OWN_TOKEN}"), format!("Bearer {OWN_TOKEN}")]);

    let complaint = site.complains(&format!("nodes {url}")).await;
    assert!(
        complaint.starts_with(&format!("cannot reach the compiler at https://{}/: ", site.compiler.address))
    );
    assert!(complaint.contains("certificate"), "{complaint}");
    std::fs::write(&token, "two words").unwrap();
    let complaint = site.complains(&format!("nodes {all}")).await;
    assert!(complaint.starts_with("token file ") && !complaint.contains("words"), "{complaint}");
    std::fs::remove_file(token).unwrap();
    let complaint = site.complains(&format!("nodes {all}")).await;
    assert!(complaint.contains("token: cannot be read: No such file"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_error_and_its_cause_both_say_is_told_once() {
    let site = Site::start().await;
    let nobody = nobody();
    for question in ["nodes", "open -A", "explain shop/a shop/b 80"] {
        let complaint = site.complains(&format!("{question} --compiler http://{nobody}")).await;
        assert_eq!(complaint.matches("refused").count(), 1, "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ways_are_a_usage_error() {
    let site = Site::start().await;
    for arguments in [
        "nodes --compiler http://127.0.0.1:1 --context here",
        "--kubeconfig x nodes --compiler http://127.0.0.1:1",
        "nodes --compiler https://127.0.0.1:1",
    ] {
        let ended = site.run(arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments}: {ended:?}");
        assert!(ended.stderr.contains("--compiler"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_kubeconfig_the_compiler_is_expected_here() {
    let home = TempDir::new().unwrap();
    let mut command = bare(env!("CARGO_BIN_EXE_flockctl"), home.path());
    command.arg("nodes");
    let ended = end(command).await;
    // Something may listen there on this machine.
    if ended.code == Some(3) {
        assert!(ended.stderr.contains("cannot reach the compiler at http://127.0.0.1:7443/: "), "{ended:?}");
        assert!(ended.stderr.contains(".kube/config"), "{ended:?}");
    }
    let mut command = bare(env!("CARGO_BIN_EXE_flockctl"), home.path());
    command.args(["nodes", "--context", "here"]);
    let ended = end(command).await;
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.starts_with("flockctl: --context here needs a kubeconfig"), "{ended:?}");
}
