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
    /// An object away.
    Delete,
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
        let (namespace, plural, name) = match rest {
            [plural] => (None, *plural, None),
            ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
            ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
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

    /// The verb of a method on this target; `None` if it has none.
    pub(crate) fn verb(&self, method: &Method, options: &Options) -> Option<Verb> {
        match (method.as_str(), &self.name) {
            ("GET", Some(_)) => Some(Verb::Get),
            ("GET", None) if options.flag("watch") => Some(Verb::Watch),
            ("GET", None) => Some(Verb::List),
            ("POST", None) => Some(Verb::Create),
            ("PUT", Some(_)) => Some(Verb::Update),
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

    /// Refuses what this server does not implement, rather than to answer as if it had not been asked.
    pub(crate) fn refuse_selectors(&self) -> Result<(), Status> {
        match ["labelSelector", "fieldSelector"].into_iter().find(|name| self.0.contains_key(*name)) {
            Some(name) => Err(Status::bad_request(format!("{name} is not implemented by this test server"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{NAMESPACE, NETWORK_POLICY, POD};

    #[test]
    fn paths_name_kind_namespace_and_object() {
        let parse = |path| {
            Target::parse(path, &[POD, NAMESPACE, NETWORK_POLICY])
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
        for unknown in
            ["/", "/api/v2/pods", "/api/v1/pods/b", "/apis/v1/pods", "/api/v1/namespaces/a/namespaces"]
        {
            assert_eq!(parse(unknown), None, "{unknown}");
        }
    }
}
