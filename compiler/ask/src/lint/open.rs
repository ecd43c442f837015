//! FLK020: pods that nothing isolates, by workload.

use std::collections::BTreeMap;

use flock_compiler_core::object::Direction;
use flock_shared::NamespaceName;

use super::code::Lint;
use super::findings::{Findings, Found};
use super::ground::Ground;

/// Looks at the pods of a namespace.
pub(super) fn namespace(ground: &Ground<'_>, namespace: &NamespaceName, findings: &mut Findings<'_>) {
    let mut open: BTreeMap<String, u32> = BTreeMap::new();
    for class in ground.classes_of(namespace).iter().filter(|class| class.is_judged()) {
        if Direction::ALL.into_iter().any(|direction| ground.is_isolated(direction, class)) {
            continue;
        }
        let object = match class.first.workload() {
            Some(workload) => format!("{} {namespace}/{}", workload.kind.kind(), workload.name),
            None => format!("Pod {}", class.first.key),
        };
        *open.entry(object).or_default() += class.live;
    }
    for (object, pods) in open {
        let like = match pods {
            1 => String::new(),
            2 => " and 1 more pod like it".to_owned(),
            pods => format!(" and {} more pods like it", pods - 1),
        };
        let it = if object.starts_with("Pod ") { "it" } else { "its pod" };
        let message =
            format!("nothing isolates {it}{like}: everything may reach it, and it may reach everything");
        findings.of_object(Lint::FLK020, object, namespace, Found { message, ..Found::default() });
    }
}
