//! Who may do what, as role rules and their bindings come to it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReviewSpec,
};

/// Whom a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A user by name.
    User(String),
    /// Everybody in a group.
    Group(String),
}

impl Subject {
    /// A user.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self::User(name.into())
    }

    /// A group.
    #[must_use]
    pub fn group(name: impl Into<String>) -> Self {
        Self::Group(name.into())
    }

    /// A service account.
    #[must_use]
    pub fn account(namespace: &str, name: &str) -> Self {
        Self::User(format!("system:serviceaccount:{namespace}:{name}"))
    }

    fn covers(&self, spec: &SubjectAccessReviewSpec) -> bool {
        match self {
            Self::User(name) => spec.user.as_ref() == Some(name),
            Self::Group(name) => spec.groups.iter().flatten().any(|group| group == name),
        }
    }
}

/// One thing that a subject may do. `*` stands for every verb, group or resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    subject: Subject,
    verb: String,
    on: On,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum On {
    Resource { group: String, resource: String, name: Option<String>, namespace: Option<String> },
    Path(String),
}

impl Grant {
    /// On all objects of a resource in all namespaces; a subresource is named as in `pods/portforward`.
    #[must_use]
    pub fn resource(subject: Subject, verb: &str, group: &str, resource: &str) -> Self {
        let (group, resource) = (group.to_owned(), resource.to_owned());
        Self {
            subject,
            verb: verb.to_owned(),
            on: On::Resource { group, resource, name: None, namespace: None },
        }
    }

    /// On a path that is no resource; a `*` at its end stands for anything.
    #[must_use]
    pub fn path(subject: Subject, verb: &str, path: &str) -> Self {
        Self { subject, verb: verb.to_owned(), on: On::Path(path.to_owned()) }
    }

    /// Only on the object of this name.
    #[must_use]
    pub fn named(mut self, wanted: &str) -> Self {
        if let On::Resource { name, .. } = &mut self.on {
            *name = Some(wanted.to_owned());
        }
        self
    }

    /// Only in this namespace.
    #[must_use]
    pub fn within(mut self, wanted: &str) -> Self {
        if let On::Resource { namespace, .. } = &mut self.on {
            *namespace = Some(wanted.to_owned());
        }
        self
    }

    fn covers(&self, spec: &SubjectAccessReviewSpec) -> bool {
        self.subject.covers(spec)
            && match (&spec.resource_attributes, &spec.non_resource_attributes) {
                (Some(asked), _) => self.covers_resource(asked),
                (None, Some(asked)) => self.covers_path(asked),
                (None, None) => false,
            }
    }

    fn covers_resource(&self, asked: &ResourceAttributes) -> bool {
        let On::Resource { group, resource, name, namespace } = &self.on else { return false };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut wanted = text(&asked.resource);
        if let Some(part) = asked.subresource.as_deref().filter(|part| !part.is_empty()) {
            wanted = format!("{wanted}/{part}");
        }
        // What is bound in one namespace says nothing of a question about all of them, which names none.
        matches(&self.verb, &text(&asked.verb))
            && matches(group, &text(&asked.group))
            && matches(resource, &wanted)
            && name.as_ref().is_none_or(|name| *name == text(&asked.name))
            && namespace.as_ref().is_none_or(|namespace| *namespace == text(&asked.namespace))
    }

    fn covers_path(&self, asked: &NonResourceAttributes) -> bool {
        let On::Path(path) = &self.on else { return false };
        let wanted = asked.path.as_deref().unwrap_or_default();
        let covered = path.strip_suffix('*').map_or(path == wanted, |start| wanted.starts_with(start));
        covered && matches(&self.verb, asked.verb.as_deref().unwrap_or_default())
    }
}

fn matches(granted: &str, asked: &str) -> bool {
    granted == "*" || granted == asked
}

/// All grants of a server.
#[derive(Debug, Default)]
pub struct Grants(Mutex<Vec<Grant>>);

impl Grants {
    fn inner(&self) -> MutexGuard<'_, Vec<Grant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one.
    pub fn allow(&self, grant: Grant) {
        self.inner().push(grant);
    }

    /// Withdraws one. Returns true if it was there.
    pub fn withdraw(&self, grant: &Grant) -> bool {
        let mut grants = self.inner();
        let before = grants.len();
        grants.retain(|it| it != grant);
        grants.len() < before
    }

    /// Withdraws all.
    pub fn clear(&self) {
        self.inner().clear();
    }

    /// Why a request is allowed; `None` if it is not.
    pub(crate) fn reason(&self, spec: &SubjectAccessReviewSpec) -> Option<String> {
        if spec.groups.iter().flatten().any(|group| group == "system:masters") {
            return Some(String::new());
        }
        let grants = self.inner();
        let grant = grants.iter().find(|grant| grant.covers(spec))?;
        let subject = match &grant.subject {
            Subject::User(name) => format!("User {name:?}"),
            Subject::Group(name) => format!("Group {name:?}"),
        };
        let binding = match &grant.on {
            On::Resource { namespace: Some(namespace), .. } => {
                format!("RoleBinding \"granted/{namespace}\" of Role \"granted\"")
            }
            _ => "ClusterRoleBinding \"granted\" of ClusterRole \"granted\"".to_owned(),
        };
        Some(format!("RBAC: allowed by {binding} to {subject}"))
    }
}
