//! The strings of S3, each allocated once.

use std::sync::Arc;

use flock_compiler_core::object::{NamedPort, PortName};
use flock_shared::ObjectName;

use crate::parts::{Pair, named_port, object_name};

/// Label keys, labels and port names that many objects share.
pub(crate) struct Words {
    pub(crate) metadata: Arc<str>,
    pub(crate) team: Arc<str>,
    pub(crate) project: Arc<str>,
    pub(crate) purpose: Arc<str>,
    pub(crate) stage: Arc<str>,
    pub(crate) app: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) test: Pair,
    pub(crate) production: Pair,
    pub(crate) web: Pair,
    pub(crate) api: Pair,
    pub(crate) worker: Pair,
    pub(crate) db: Pair,
    pub(crate) cache: Pair,
    pub(crate) versions: Vec<Pair>,
    pub(crate) own_policy: ObjectName,
    pub(crate) http: PortName,
    pub(crate) grpc: PortName,
    pub(crate) metrics: PortName,
    web_ports: Vec<NamedPort>,
    api_ports: [Vec<NamedPort>; 2],
}

impl Words {
    pub(crate) fn new() -> Self {
        let word = |text: &str| -> Arc<str> { text.into() };
        let (app, stage, version) = (word("app"), word("stage"), word("version"));
        let [web, api, worker, db, cache] =
            ["web", "api", "worker", "db", "cache"].map(|value| (app.clone(), word(value)));
        let [http, grpc, metrics] = ["http", "grpc", "metrics"].map(PortName::new);
        Self {
            metadata: word("kubernetes.io/metadata.name"),
            team: word("team"),
            project: word("project"),
            purpose: word("purpose"),
            test: (stage.clone(), word("test")),
            production: (stage.clone(), word("production")),
            versions: ["v1", "v2", "v3"].map(|value| (version.clone(), word(value))).to_vec(),
            own_policy: object_name("own"),
            web_ports: vec![named_port(&http, 8080), named_port(&metrics, 9100)],
            api_ports: [9090, 9091].map(|number| vec![named_port(&grpc, number), named_port(&metrics, 9100)]),
            app,
            stage,
            version,
            web,
            api,
            worker,
            db,
            cache,
            http,
            grpc,
            metrics,
        }
    }

    /// The label of a team's namespaces.
    pub(crate) fn team(&self, number: usize) -> Pair {
        (self.team.clone(), format!("team-{number}").into())
    }

    /// The label of a project's namespaces.
    pub(crate) fn project(&self, number: usize) -> Pair {
        (self.project.clone(), format!("project-{number}").into())
    }

    /// What the pod with this number in a tenant's namespace is: in turn `web`, `api`, `web`, `worker`, `db`, `cache`.
    pub(crate) const fn app_of(&self, number: usize) -> &Pair {
        match number % 6 {
            0 | 2 => &self.web,
            1 => &self.api,
            3 => &self.worker,
            4 => &self.db,
            _ => &self.cache,
        }
    }

    /// The named ports of that pod; `grpc` means another number in every third namespace.
    pub(crate) fn ports_of(&self, number: usize, tenant: usize) -> &[NamedPort] {
        let [usual, other] = &self.api_ports;
        match number % 6 {
            0 | 2 => &self.web_ports,
            1 if tenant.is_multiple_of(3) => other,
            1 => usual,
            _ => &[],
        }
    }
}
