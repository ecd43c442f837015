//! How many compilers there are. They do not know of each other; the API server shows each of them the pods of all.

use flock_compiler_core::World;
use flock_compiler_core::object::Lifecycle;
use flock_proto::Others;
use flock_shared::{NamespaceName, access};

use crate::engine::EngineHandle;

/// What the compiler's pods are known by.
const LABEL: &str = "app.kubernetes.io/name";

/// Where to see how many compilers there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replicas {
    /// Nobody else follows the same objects.
    Alone,
    /// Each is a pod in this namespace. Where none is, as when they run outside of the cluster, it is not known.
    Pods(NamespaceName),
}

impl Replicas {
    /// How many there are, if that can be told.
    pub async fn count(&self, engine: &EngineHandle) -> Option<u32> {
        match self {
            Self::Alone => Some(1),
            Self::Pods(_) if !engine.is_ready() => None,
            Self::Pods(namespace) => {
                let namespace = namespace.clone();
                // Without an engine the process is about to end.
                engine.look(move |view| pods(view.world, &namespace)).await.ok()?
            }
        }
    }
}

/// Who else may have the stream of a node's agent, where there are so many replicas.
#[must_use]
pub const fn others(count: Option<u32>) -> Others {
    match count {
        Some(1) => Others::Asked,
        _ => Others::MayServe,
    }
}

/// The pods of compilers that may serve agents; `None`: there are none, so this one is no pod.
fn pods(world: &World, namespace: &NamespaceName) -> Option<u32> {
    // Pods are ordered by namespace, and a cluster has many.
    let ours = world.pods_of(namespace).filter(|pod| {
        pod.lifecycle == Lifecycle::Live
            && pod.node.is_some()
            && pod.labels.get(LABEL) == Some(access::SERVICE)
    });
    // None at all: compilers run outside of the cluster, or their pods have other labels.
    u32::try_from(ours.count()).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::{Change, Edit};
    use serde_json::json;

    use super::*;
    use flock_convert::{ClusterObject, Converted, Converter, HostInterfaces};

    /// A world with pods: namespace, name, label, node, and what else is in the status or metadata.
    fn world(pods: &[(&str, &str, &str, Option<&str>, &str)]) -> World {
        let converter = Converter::new("test", HostInterfaces::None);
        let mut world = World::default();
        for (namespace, name, label, node, state) in pods {
            let deleted = (*state == "deleted").then_some("2025-01-01T00:00:00Z");
            let labels = json!({ LABEL: label });
            let metadata = json!({
                "namespace": namespace, "name": name, "labels": labels, "deletionTimestamp": deleted,
            });
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                "spec": { "nodeName": node, "hostNetwork": true }, "status": { "phase": state },
            });
            let Ok(Converted::Object(ClusterObject::Pod(pod))) = converter.object(&pod) else {
                panic!("{name}")
            };
            world.apply(Change::Pod(Edit::Upsert(pod)));
        }
        world
    }

    #[test]
    fn the_pods_of_compilers_that_may_serve_are_counted() {
        let ours = NamespaceName::new("flock-system").unwrap();
        let n1 = Some("n1");
        let all = [
            ("flock-system", "a", "flock-compiler", n1, "Running"),
            ("flock-system", "b", "flock-compiler", n1, "Pending"),
            ("flock-system", "c", "flock-compiler", None, "Pending"),
            ("flock-system", "d", "flock-compiler", n1, "Failed"),
            ("flock-system", "e", "flock-compiler", n1, "deleted"),
            ("flock-system", "f", "flock-node-agent", n1, "Running"),
            ("flock-systems", "g", "flock-compiler", n1, "Running"),
            ("a-tenant", "h", "flock-compiler", n1, "Running"),
        ];
        assert_eq!(pods(&world(&all), &ours), Some(2));
        assert_eq!(
            pods(&world(&all[2..]), &ours),
            None,
            "this one is no pod, and there may be others like it"
        );
        assert_eq!(
            [others(Some(1)), others(Some(2)), others(None)],
            [Others::Asked, Others::MayServe, Others::MayServe]
        );
    }
}
