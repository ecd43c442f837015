//! The pods of the compiler: which may be asked, and what is the matter with those that may not.

use k8s_openapi::api::core::v1::Pod;

/// What the compiler's pods are found by.
pub(super) const LABEL: &str = "app.kubernetes.io/name=flock-compiler";

/// The pods of the compiler that may have streams of agents, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// Those that may be asked.
    pub(super) ready: Vec<String>,
    /// Those that may not.
    pub(super) unready: Vec<String>,
}

/// Which pods run; if none is ready, what is the matter with each.
pub(super) fn running(pods: &[Pod]) -> Result<Running, Vec<String>> {
    let with = |wanted: &PodState| {
        let found = pods.iter().filter(|pod| state(pod) == *wanted);
        let mut names: Vec<String> = found.map(name).collect();
        // So that each call asks, and prints, in the same order.
        names.sort_unstable();
        names
    };
    let (ready, unready) = (with(&PodState::Ready), with(&PodState::Unready));
    if !ready.is_empty() {
        return Ok(Running { ready, unready });
    }
    let mut states: Vec<String> =
        pods.iter().map(|pod| format!("{} is {}", name(pod), state(pod).words())).collect();
    states.sort_unstable();
    Err(states)
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

#[derive(Debug, PartialEq, Eq)]
enum PodState {
    Ready,
    /// It runs, and may have streams of before.
    Unready,
    /// It has no streams, or is about to end them.
    Away(String),
}

impl PodState {
    fn words(self) -> String {
        match self {
            Self::Ready => "ready".to_owned(),
            Self::Unready => "not ready".to_owned(),
            Self::Away(why) => why,
        }
    }
}

fn state(pod: &Pod) -> PodState {
    // Before the phase, which stays Running until the last container has ended.
    if pod.metadata.deletion_timestamp.is_some() {
        return PodState::Away("being deleted".to_owned());
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    if phase != "Running" {
        return PodState::Away(phase.to_owned());
    }
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        true => PodState::Ready,
        false => PodState::Unready,
    }
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
        let found = running(&mixed).unwrap();
        assert_eq!((found.ready, found.unready), (vec!["x".into(), "y".into()], vec![]));
        let found = running(&[others[1].clone(), others[0].clone(), fine("x")]).unwrap();
        assert_eq!(found.unready, ["b"], "it may have streams of before, and what is pending has none");
        let told = ["a is being deleted", "b is not ready", "c is Pending"];
        assert_eq!(running(&others), Err(told.map(str::to_owned).into()));
        assert_eq!(running(&[]), Err(Vec::new()));
    }

    #[test]
    fn the_label_is_that_of_the_manifests() {
        assert_eq!(LABEL, format!("app.kubernetes.io/name={}", access::SERVICE));
    }
}
