//! What a request asks for: kind, namespace, name and verb from its path, and the options of its query.

use std::collections::BTreeMap;

use http::Method;

use crate::kind::Kind;
use crate::status::Status;

/// What a request does, as role rules call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// One object.
    Get,
    /// All objects of a kind, or a page of them.
    List,
    /// Their changes.
    Watch,
    /// A new object.
    Create,
    /// An object anew.
    Update,
    /// Some fields of an object, by JSON merge patch.
    Patch,
    /// An object away.
    Delete,
}

impl Verb {
    /// As role rules spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Where in the API a request points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// `None`: cluster-wide, either by kind or across namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

impl Target {
    /// Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`.
    pub(crate) fn parse(path: &str, kinds: &[Kind]) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let subresource;
        let (namespace, plural, name) = match rest {
            [plural] => (None, *plural, None),
            ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
            // The status is a part of the object, which is stored as a whole.
            ["namespaces", namespace, plural, name] | ["namespaces", namespace, plural, name, "status"] => {
                (Some(*namespace), *plural, Some(*name))
            }
            ["namespaces", namespace, plural, name, part] => {
                subresource = format!("{plural}/{part}");
                (Some(*namespace), subresource.as_str(), Some(*name))
            }
            [plural, name] => (None, *plural, Some(*name)),
            _ => return None,
        };
        let kind =
            kinds.iter().find(|kind| (kind.group, kind.version, kind.plural) == (group, version, plural))?;
        let scoped =
            if kind.namespaced { name.is_none() || namespace.is_some() } else { namespace.is_none() };
        let owned = |part: Option<&str>| part.map(str::to_owned);
        scoped.then(|| Self { kind: *kind, namespace: owned(namespace), name: owned(name) })
    }

    /// Namespace and name; empty where it has none.
    pub(crate) fn place(&self) -> (&str, &str) {
        (self.namespace.as_deref().unwrap_or_default(), self.name.as_deref().unwrap_or_default())
    }

    /// The verb of a method on this target; `None` if it has none.
    pub(crate) fn verb(&self, method: &Method, options: &Options) -> Option<Verb> {
        match (method.as_str(), &self.name) {
            ("GET", Some(_)) => Some(Verb::Get),
            ("GET", None) if options.flag("watch") => Some(Verb::Watch),
            ("GET", None) => Some(Verb::List),
            ("POST", None) => Some(Verb::Create),
            ("POST", Some(_)) if self.kind.is_subresource() => Some(Verb::Create),
            ("PUT", Some(_)) => Some(Verb::Update),
            ("PATCH", Some(_)) => Some(Verb::Patch),
            ("DELETE", Some(_)) => Some(Verb::Delete),
            _ => None,
        }
    }
}

/// The query of a request. An empty value counts as none, as the API server reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Status::bad_request(format!("{name}: expected a number, found {text:?}")))
        };
        self.get(name).map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{NAMESPACE, NETWORK_POLICY, POD, PORT_FORWARD};

    #[test]
    fn paths_name_kind_namespace_and_object() {
        let parse = |path| {
            Target::parse(path, &[POD, NAMESPACE, NETWORK_POLICY, PORT_FORWARD])
                .map(|t| (t.kind.kind, t.namespace.unwrap_or_default(), t.name.unwrap_or_default()))
        };
        let owned = |kind, namespace: &str, name: &str| Some((kind, namespace.to_owned(), name.to_owned()));
        assert_eq!(parse("/api/v1/pods"), owned("Pod", "", ""));
        assert_eq!(parse("/api/v1/namespaces/a/pods"), owned("Pod", "a", ""));
        assert_eq!(parse("/api/v1/namespaces/a/pods/b"), owned("Pod", "a", "b"));
        assert_eq!(parse("/api/v1/namespaces"), owned("Namespace", "", ""));
        assert_eq!(parse("/api/v1/namespaces/a"), owned("Namespace", "", "a"));
        assert_eq!(
            parse("/apis/networking.k8s.io/v1/namespaces/a/networkpolicies/b"),
            owned("NetworkPolicy", "a", "b")
        );
        assert_eq!(
            parse("/api/v1/namespaces/a/pods/b/portforward"),
            owned("PodPortForwardOptions", "a", "b")
        );
        assert_eq!(parse("/api/v1/namespaces/a/pods/b/status"), owned("Pod", "a", "b"));
        for unknown in
            ["/", "/api/v2/pods", "/api/v1/pods/b", "/apis/v1/pods", "/api/v1/namespaces/a/pods/b/log"]
        {
            assert_eq!(parse(unknown), None, "{unknown}");
        }
    }
}
