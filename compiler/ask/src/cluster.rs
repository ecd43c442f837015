//! The cluster that is asked about: its objects, and how they are taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::judge::{Index, Judge, PodsOverBudget};
use flock_compiler_core::{Problem, UnreadyPods, World};
use flock_shared::NamespaceName;

use crate::ServiceAddresses;

/// A cluster.
#[derive(Debug, Clone)]
pub struct Cluster<'w> {
    /// Its objects.
    pub world: &'w World,
    /// What becomes of addresses that nobody is known to own.
    pub unready: UnreadyPods,
    /// What is known of addresses of Services; `None`: nothing.
    pub services: Option<&'w ServiceAddresses>,
    /// What translation reports of it, which `lint` tells with all else; none where nothing is translated.
    pub problems: &'w [Problem],
    /// The files that objects are from, by kind, namespace and name, such as `Pod shop/web`; `None`: they are from an API
    /// server.
    pub origins: Option<&'w BTreeMap<String, Arc<str>>>,
    /// The pods that are closed because their policies cost more than is allowed, as the translation tells.
    pub over_budget: Option<&'w PodsOverBudget>,
    /// An index that is up to date with the world; `None`: what is asked for is looked for among all objects.
    pub index: Option<&'w Index>,
    /// Whether namespaces that have no object are there all the same, as in manifests.
    pub assumed: bool,
}

impl<'w> Cluster<'w> {
    /// A cluster of which nothing else is known.
    #[must_use]
    pub const fn new(world: &'w World, unready: UnreadyPods) -> Self {
        Self {
            world,
            unready,
            services: None,
            problems: &[],
            origins: None,
            over_budget: None,
            index: None,
            assumed: false,
        }
    }

    /// A judge, which looks things up if there is an index.
    #[must_use]
    pub fn judge(&self) -> Judge<'w> {
        let judge = match self.index {
            Some(index) => Judge::with_index(self.world, self.unready, index),
            None => Judge::new(self.world, self.unready),
        };
        match self.over_budget {
            Some(pods) => judge.with_over_budget(pods),
            None => judge,
        }
    }

    /// A judge for many questions: what there is no index of is indexed first.
    #[must_use]
    pub fn judge_of_many(&self) -> Judge<'w> {
        if self.index.is_some() {
            return self.judge();
        }
        let judge = Judge::indexed(self.world, self.unready);
        match self.over_budget {
            Some(pods) => judge.with_over_budget(pods),
            None => judge,
        }
    }

    /// Returns true if there is such a namespace.
    #[must_use]
    pub fn has_namespace(&self, namespace: &NamespaceName) -> bool {
        self.world.has_namespace(namespace)
    }
}
