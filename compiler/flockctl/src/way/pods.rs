//! The pods of the compiler: which may be asked, and what is the matter with those that may not.

use k8s_openapi::api::core::v1::Pod;

/// What the compiler's pods are found by.
pub(super) const LABEL: &str = "app.kubernetes.io/name=flock-compiler";

/// Names of the pods that are ready, in order; if none is, what is the matter with each.
pub(super) fn ready(pods: &[Pod]) -> Result<Vec<String>, Vec<String>> {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    let mut ready: Vec<String> = pods.iter().filter(|pod| state(pod).is_none()).map(name).collect();
    if !ready.is_empty() {
        ready.sort_unstable();
        return Ok(ready);
    }
    let states = pods.iter().filter_map(|pod| Some(format!("{} is {}", name(pod), state(pod)?)));
    let mut states: Vec<String> = states.collect();
    states.sort_unstable();
    Err(states)
}

/// Why a pod is not to be asked; `None` if it is ready.
fn state(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("being deleted".to_owned());
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    if phase != "Running" {
        return Some(phase.to_owned());
    }
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    (!ready).then(|| "not ready".to_owned())
}

#[cfg(test)]
mod tests {
    use flock_shared::access;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, phase: &str, ready: &str, deleted: Option<&str>) -> Pod {
        let metadata = json!({ "name": name, "deletionTimestamp": deleted });
        let conditions =
            json!([{ "type": "Initialized", "status": "True" }, { "type": "Ready", "status": ready }]);
        let pod = json!({ "metadata": metadata, "status": { "phase": phase, "conditions": conditions } });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn ready_pods_come_in_order_and_others_say_why() {
        let fine = |name| pod(name, "Running", "True", None);
        let others = [
            pod("c", "Pending", "False", None),
            pod("b", "Running", "False", None),
            pod("a", "Running", "True", Some("2025-01-01T00:00:00Z")),
        ];
        let mixed = [others[0].clone(), fine("y"), others[2].clone(), fine("x")];
        assert_eq!(ready(&mixed), Ok(vec!["x".to_owned(), "y".to_owned()]));
        let told = ["a is being deleted", "b is not ready", "c is Pending"];
        assert_eq!(ready(&others), Err(told.map(str::to_owned).into()));
        assert_eq!(ready(&[]), Err(Vec::new()));
    }

    #[test]
    fn the_label_is_that_of_the_manifests() {
        assert_eq!(LABEL, format!("app.kubernetes.io/name={}", access::SERVICE));
    }
}
