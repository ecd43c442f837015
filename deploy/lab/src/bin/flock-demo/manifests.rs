//! The manifests directory: the cluster's objects as an API server would list them, the policies, the edit.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::scenario::{BLOCKS, EDIT, NEWCOMER, NEWCOMER_APP, NODES, PODS, POLICIES, PodPlan};

/// The file that holds the policies.
pub(crate) const POLICY_FILE: &str = "policies.yaml";

/// A directory that the compiler follows. Files appear in it whole.
pub(crate) struct Manifests {
    directory: PathBuf,
    /// Where files are written before they are moved in; same file system.
    outside: PathBuf,
}

impl Manifests {
    /// Makes the directory below `work`, with namespaces, nodes and pods but no policy.
    pub(crate) fn create(work: &Path) -> Result<Self> {
        let manifests = Self { directory: work.join("manifests"), outside: work.to_owned() };
        fs::create_dir(&manifests.directory)
            .with_context(|| format!("make {}", manifests.directory.display()))?;
        manifests.put("cluster.yaml", &cluster())?;
        Ok(manifests)
    }

    /// What `--manifests` is given.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Adds all policies, in one file: the compiler never sees some of them without the others.
    pub(crate) fn add_policies(&self) -> Result<()> {
        self.put(POLICY_FILE, &policies())
    }

    /// Makes the one edit.
    pub(crate) fn edit(&self) -> Result<()> {
        self.put(POLICY_FILE, &policies().replacen(EDIT.before, EDIT.after, 1))
    }

    /// Adds the pod that starts, of which nobody has said yet which addresses it has.
    pub(crate) fn add_newcomer(&self) -> Result<()> {
        self.put("newcomer.yaml", &format!("{}status:\n  phase: Pending\n", pod(&NEWCOMER, NEWCOMER_APP)))
    }

    fn put(&self, file: &str, text: &str) -> Result<()> {
        let (outside, inside) = (self.outside.join(file), self.directory.join(file));
        // Written outside and moved, so that the compiler never reads half of a file.
        fs::write(&outside, text)
            .and_then(|()| fs::rename(&outside, &inside))
            .with_context(|| format!("write {}", inside.display()))
    }
}

fn policies() -> String {
    POLICIES.map(|policy| policy.yaml).join("---\n")
}

fn cluster() -> String {
    let mut namespaces: Vec<_> = PODS.iter().map(|pod| pod.namespace).collect();
    // Pods stand by their namespaces, so equal ones follow each other.
    namespaces.dedup();
    let namespace = |name: &&str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
             kubernetes.io/metadata.name: {name}\n"
        )
    };
    let node = |(name, blocks): (&&str, &&str)| {
        format!("apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\nspec:\n  podCIDRs: {blocks}\n")
    };
    let documents = namespaces
        .iter()
        .map(namespace)
        .chain(NODES.iter().zip(&BLOCKS).map(node))
        .chain(PODS.iter().map(known));
    documents.collect::<Vec<_>>().join("---\n")
}

/// A pod whose kubelet has said which addresses it has.
fn known(plan: &PodPlan) -> String {
    let PodPlan { name, v4, v6, .. } = plan;
    let mut text = pod(plan, name);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "status:\n  phase: Running\n  podIP: {v4}\n  podIPs:\n  - ip: {v4}\n  - ip: {v6}");
    text
}

fn pod(pod: &PodPlan, app: &str) -> String {
    let PodPlan { namespace, name, node, ports, .. } = pod;
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  namespace: {namespace}\n  name: {name}\n  uid: {}\n  labels:\n    app: {app}\n\
         spec:\n  nodeName: {node}\n  containers:\n  - name: main\n    image: example\n    ports:\n",
        uid(pod)
    );
    for (port, protocol, number) in *ports {
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "    - name: {port}\n      protocol: {protocol}\n      containerPort: {number}");
    }
    text
}

/// What tells a pod from others of its name.
pub(crate) fn uid(pod: &PodPlan) -> String {
    format!("uid-{}", pod.name)
}
