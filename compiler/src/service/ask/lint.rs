//! What is probably not meant, of what is there: what has been so for a minute, so that rollouts are quiet. Nothing is looked at
//! before somebody asks: the objects of a minute ago are found again.

use std::time::{Duration, SystemTime};

use flock_ask::{AskError, Cluster};
use flock_compiler_core::Problem;
use flock_proto::v1;

use super::questions::Asked;
use crate::mirror::rewound;
use crate::service::context::Context;

/// For so long a finding has to be true: pods of a rollout are mostly there in less.
const SETTLED: Duration = Duration::from_secs(60);

/// The findings that were there a minute ago, too.
pub(super) fn lint(
    asked: &Asked<'_>,
    request: &v1::LintRequest,
    problems: &[Problem],
    context: &Context,
) -> Result<Vec<v1::Finding>, AskError> {
    if !request.manifests.is_empty() {
        return Err(AskError::Bad(
            "manifests are linted by kubectl flock itself: use --manifests".to_owned(),
        ));
    }
    let cluster = Cluster { problems, services: Some(&context.services), ..asked.cluster.clone() };
    let found = flock_ask::lint(&cluster, request, asked.sight)?;
    let newest = asked.snapshot.mirrored.sequence;
    let Some(moment) = SystemTime::now().checked_sub(SETTLED) else { return Ok(found) };
    let way = context.engine.mirror().history(|history| history.way_back(newest, history.at(moment)?));
    let Some(way) = way.filter(|way| !way.is_empty()) else { return Ok(found) };
    let earlier = rewound(cluster.world, &way);
    // Problems of the translation come as they are: they are in the log already.
    let before = Cluster { world: &earlier, index: None, ..cluster };
    // A namespace that was not there had nothing to find.
    let before = flock_ask::lint(&before, request, asked.sight).unwrap_or_default();
    Ok(flock_ask::lasting(found, &before))
}
