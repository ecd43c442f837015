//! A directory of manifests, what `render` makes of it, and the objects that most tests have in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::programs::{COMPILER, program};

/// Two nodes, one namespace, `web` and `api` on n1, `db` on n2.
pub(crate) const CLUSTER: &str = "\
{apiVersion: v1, kind: Node, metadata: {name: n1}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop}}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: n1}
status: {phase: Running, podIP: 10.1.0.2, podIPs: [{ip: 10.1.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: api, labels: {app: api}}
spec: {nodeName: n1}
status: {phase: Running, podIP: 10.1.0.3, podIPs: [{ip: 10.1.0.3}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: n2}
status: {phase: Running, podIP: 10.1.0.4, podIPs: [{ip: 10.1.0.4}]}
";

/// A pod of the shop, labelled with its name.
pub(crate) fn pod(name: &str, node: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: {name}, labels: {{app: {name}}}}}\n\
         spec: {{nodeName: {node}}}\nstatus: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}\n"
    )
}

/// Nobody reaches any pod of the shop.
pub(crate) const DENY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

/// `web` reaches `api` and `db` on port 80.
pub(crate) const ALLOW_WEB: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: allow-web}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [api, db]}]}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 80}]
";

/// A directory that a compiler follows.
pub(crate) struct Manifests {
    directory: PathBuf,
    /// Where files are written before they are moved in, whole.
    outside: PathBuf,
}

impl Manifests {
    /// An empty directory below `parent`.
    pub(crate) fn new(parent: &Path) -> Self {
        let directory = parent.join("manifests");
        fs::create_dir(&directory).unwrap();
        Self { directory, outside: parent.to_owned() }
    }

    pub(crate) fn path(&self) -> &str {
        self.directory.to_str().unwrap()
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        let written = self.outside.join(name);
        fs::write(&written, text).unwrap();
        fs::rename(written, self.directory.join(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.directory.join(name)).unwrap();
    }

    /// What `render` prints for a node; a policy that is not understood is allowed.
    pub(crate) fn render(&self, node: &str) -> Vec<u8> {
        let output = render(&["--manifests", self.path(), "--node", node, "--allow-invalid"], None);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The revision that a node should reach.
    pub(crate) fn revision(&self, node: &str) -> String {
        revision_of(&self.render(node))
    }
}

/// Runs `flock-compiler render`.
pub(crate) fn render(arguments: &[&str], stdin: Option<&Path>) -> Output {
    let mut command: Command = program(COMPILER);
    command.arg("render").args(arguments);
    command.stdin(stdin.map_or_else(Stdio::null, |path| fs::File::open(path).unwrap().into()));
    command.output().unwrap()
}

/// The revision that a script reaches: the one that its marker names.
pub(crate) fn revision_of(script: &[u8]) -> String {
    let script = std::str::from_utf8(script).unwrap();
    let (_, marker) = script.rsplit_once(" rev_").expect("a script ends with its marker");
    marker.split(' ').next().unwrap().to_owned()
}
