//! Clusters from manifests.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_ask::{AskError, Cluster, ServiceAddresses, Sight, lint};
use flock_compiler_core::{Problem, UnreadyPods, World, translate};
use flock_convert::manifests::{merge, parse};
use flock_convert::{Converter, HostInterfaces, Workloads};
use flock_proto::v1;

/// The objects of a manifest, and all that `lint` is told of them.
pub(crate) struct Manifest {
    pub(crate) world: World,
    pub(crate) problems: Vec<Problem>,
    origins: BTreeMap<String, Arc<str>>,
    services: ServiceAddresses,
}

impl Manifest {
    pub(crate) fn read(origin: &str, text: &str) -> Self {
        let converter = Converter::new(origin, HostInterfaces::None).with_workloads(Workloads::StandForPods);
        let parsed = parse(text.as_bytes(), &converter).unwrap();
        let origin = Arc::from(origin);
        let merged = merge([(&origin, &parsed)]);
        assert!(merged.ambiguous.is_empty(), "{:?}", merged.ambiguous);
        let mut world = World::default();
        for change in merged.objects.listings() {
            world.apply(change);
        }
        let problems = translate(&world).problems().to_vec();
        let services = ServiceAddresses::new(&merged.services, merged.service_cidrs);
        Self { world, problems, origins: merged.origins, services }
    }

    pub(crate) fn cluster(&self) -> Cluster<'_> {
        Cluster {
            problems: &self.problems,
            origins: Some(&self.origins),
            services: Some(&self.services),
            ..Cluster::new(&self.world, UnreadyPods::Expected)
        }
    }

    pub(crate) fn lint(&self, namespace: &str, sight: &Sight) -> Result<Vec<v1::Finding>, AskError> {
        let request = v1::LintRequest { namespace: namespace.into(), manifests: Vec::new() };
        lint(&self.cluster(), &request, sight)
    }
}
