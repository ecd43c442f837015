//! Where the kubeconfig is, as kubectl looks for it: the file that was named; the files of `$KUBECONFIG`, those that are
//! missing left out; `~/.kube/config`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use flock_shared::causes;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::error::TargetError;

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// `$KUBECONFIG`.
    pub(super) list: Option<OsString>,
    pub(super) home: Option<PathBuf>,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    Config(Box<Kubeconfig>),
    Nothing {
        /// Where, in words.
        looked: String,
    },
}

impl Places {
    /// Those of this process.
    pub(super) fn here() -> Self {
        Self { list: std::env::var_os("KUBECONFIG"), home: std::env::home_dir() }
    }
}

/// Finds and reads the kubeconfig. `named` has to be there.
pub(super) fn find(named: Option<&Path>, places: &Places) -> Result<Found, TargetError> {
    let read = |path: &Path| {
        Kubeconfig::read_from(path)
            .map_err(|error| TargetError::Kubeconfig(format!("{}: {}", path.display(), cause(&error))))
    };
    if let Some(path) = named {
        return Ok(Found::Config(Box::new(read(path)?)));
    }
    // Set to nothing is not set, as for kubectl.
    let (paths, looked) = match places.list.as_deref().filter(|list| !list.is_empty()) {
        Some(list) => {
            let paths = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
            (paths.collect(), format!("KUBECONFIG={}", list.to_string_lossy()))
        }
        None => {
            let path = places.home.as_ref().map(|home| home.join(".kube").join("config"));
            let looked = path.as_ref().map_or("no home directory".to_owned(), |it| it.display().to_string());
            (Vec::from_iter(path), looked)
        }
    };
    let mut merged: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| path.exists()) {
        let next = read(path)?;
        merged = Some(match merged {
            // What several files say differently is as the first of them has it, as for kubectl.
            Some(first) => first.merge(next).map_err(|error| TargetError::Kubeconfig(cause(&error)))?,
            None => next,
        });
    }
    Ok(merged.map_or(Found::Nothing { looked }, |config| Found::Config(Box::new(config))))
}

/// What a context comes to, and its name.
pub(super) async fn context(
    kubeconfig: Kubeconfig,
    name: Option<String>,
) -> Result<(kube::Config, String), TargetError> {
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let current = kubeconfig.current_context.clone().filter(|name| !name.is_empty());
    // Looked up here, as the errors of kube do not name the contexts that there are.
    let name = match name.or(current) {
        Some(name) if known.contains(&name) => name,
        Some(name) => return Err(TargetError::UnknownContext { name, known }),
        None => return Err(TargetError::NoContext { known }),
    };
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Ok((config.map_err(|error| TargetError::Kubeconfig(cause(&error)))?, name))
}

fn cause(error: &KubeconfigError) -> String {
    match error {
        // The path is said already.
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        error => causes(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(contexts: &[&str], current: &str) -> String {
        let contexts = contexts
            .iter()
            .map(|name| format!("- {{name: {name}, context: {{cluster: {name}, user: u}}}}\n"));
        let clusters = "clusters: [{name: a, cluster: {server: http://127.0.0.1:1}}]";
        let contexts: String = contexts.collect();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {current:?}\n{clusters}\ncontexts:\n{contexts}"
        )
    }

    #[test]
    fn it_is_found_where_kubectl_finds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let list = |names: &[&str]| std::env::join_paths(names.iter().map(|name| path(name))).unwrap();
        std::fs::write(path("one"), config(&["a"], "")).unwrap();
        std::fs::write(path("two"), config(&["b"], "b")).unwrap();
        std::fs::create_dir(path(".kube")).unwrap();
        let found = |named: Option<&str>, places: &Places| match find(named.map(path).as_deref(), places) {
            Ok(Found::Config(config)) => {
                config.contexts.iter().map(|context| context.name.clone()).collect::<Vec<_>>().join(" ")
            }
            Ok(Found::Nothing { looked }) => format!("nothing: {looked}"),
            Err(error) => error.to_string(),
        };
        let home = Some(directory.path().to_owned());
        let listed = Places { list: Some(list(&["one", "missing", "two"])), home: home.clone() };
        assert_eq!(found(None, &listed), "a b");
        assert_eq!(found(Some("two"), &listed), "b");
        assert!(found(Some("missing"), &listed).ends_with("missing: No such file or directory (os error 2)"));
        let missing = Places { list: Some(list(&["missing"])), home: home.clone() };
        assert!(found(None, &missing).starts_with("nothing: KUBECONFIG="));
        let unset = Places { list: Some(OsString::new()), home };
        assert!(found(None, &unset).ends_with(".kube/config"));
        std::fs::write(path(".kube/config"), config(&["c"], "c")).unwrap();
        assert_eq!(found(None, &unset), "c");
        std::fs::write(path(".kube/config"), "contexts: 7").unwrap();
        assert!(found(None, &unset).starts_with("cannot read the kubeconfig: "));
        assert_eq!(found(None, &Places::default()), "nothing: no home directory");
    }

    #[tokio::test]
    async fn a_context_is_the_named_or_the_current_one() {
        let chosen = async |current: &str, name: Option<&str>| {
            let kubeconfig = Kubeconfig::from_yaml(&config(&["a", "b"], current)).unwrap();
            let chosen = context(kubeconfig, name.map(str::to_owned)).await;
            chosen.map(|(_, name)| name).map_err(|error| error.to_string())
        };
        assert_eq!(chosen("a", None).await.as_deref(), Ok("a"));
        assert_eq!(chosen("b", Some("a")).await.as_deref(), Ok("a"));
        let error = chosen("a", Some("c")).await.unwrap_err();
        assert_eq!(error, "the kubeconfig has no context \"c\"; it has a, b");
        let error = chosen("", None).await.unwrap_err();
        assert!(error.contains("no current context"), "{error}");
        let error = chosen("b", None).await.unwrap_err();
        assert!(error.starts_with("cannot read the kubeconfig: ") && error.contains("cluster"), "{error}");
    }
}
