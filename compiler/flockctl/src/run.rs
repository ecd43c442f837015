//! Asking the compilers and printing their answers.

use std::collections::HashSet;

use flock_proto::v1;
use flock_shared::NamespaceName;
use tonic::{Code, Status};

use crate::cli::{Command, Format, Options, Whom};
use crate::failure::Failure;
use crate::nodes::{self, Query, say};
use crate::replica::{Client, Replicas};
use crate::target::Target;
use crate::{Program, ask, check, print, watch};

/// What an answer comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is as it should be, or nothing else was asked.
    Yes,
    /// Something is not.
    No,
    /// What objects say and what a node's table does differ.
    Contradiction,
}

/// Who asks, and how it is to be printed.
pub(crate) struct Asker<'a> {
    pub(crate) program: Program,
    pub(crate) namespace: Option<&'a NamespaceName>,
    pub(crate) format: Format,
}

/// Does what was asked for.
pub(crate) async fn run(program: Program, options: Options) -> Result<Outcome, Failure> {
    let Options { command, output: format, namespace, whom } = options;
    let asker = Asker { program, namespace: namespace.as_ref(), format };
    let choice = match whom {
        Whom::Compilers(choice) => choice,
        Whom::Manifests(paths) => {
            let Command::Ask { question, shape } = command else {
                return Err(Failure::question("--manifests is for questions about policy".to_owned()));
            };
            return ask::of_manifests(&paths, question, shape, &asker).await;
        }
    };
    let target = Target::find(choice).await?;
    match command {
        Command::Ask { question, shape } => return ask::of_compilers(target, question, shape, &asker).await,
        // A watch has no end of its own: whatever ends it is told, and the exit status is never 0.
        Command::Watch { node } => return Err(watch::watch(&target, &node, &asker).await),
        Command::Nodes { names, behind, watch } => {
            let query = Query { names, behind };
            return match watch {
                true => nodes::watch(&target, &query, &asker).await,
                false => nodes::once(&target, &query, &asker).await,
            };
        }
        Command::Check { question } => return check::check(&target, question, &asker).await,
        Command::Problems => asker.problems(target.open().await?).await?,
        Command::Script { node } => script(target.open().await?, node, format).await?,
        Command::Output { node } => output(target.open().await?, node, format).await?,
    }
    Ok(Outcome::Yes)
}

impl Asker<'_> {
    /// What there is to look at beside nodes.
    pub(crate) async fn hint(&self, replicas: &mut Replicas) -> Result<Option<String>, Failure> {
        let count = self.count(replicas).await?.unwrap_or_default();
        let scope = self.namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
        let program = self.program;
        let hint = || format!("{count} problem(s) in the cluster's objects: {program} problems{scope}");
        Ok((count > 0).then(hint))
    }

    /// How many problems there are; `None`: they may not be seen.
    ///
    /// # Errors
    /// When no replica answers.
    pub(crate) async fn count(&self, replicas: &mut Replicas) -> Result<Option<usize>, Failure> {
        let asked = replicas.ask(async |client| match self.list(client).await {
            // Who may see nodes need not be allowed to see problems.
            Err(status) if status.code() == Code::PermissionDenied => Ok(None),
            answer => answer.map(Some),
        });
        let (answers, _) = asked.await.any()?;
        let seen = answers.into_iter().filter_map(|(name, problems)| Some((name, problems?)));
        let seen: Vec<_> = seen.collect();
        Ok((!seen.is_empty()).then(|| together(seen).len()))
    }

    async fn problems(&self, mut replicas: Replicas) -> Result<(), Failure> {
        let problems = self.all_problems(&mut replicas).await?;
        Ok(print::problems(&problems, self.namespace, self.format)?)
    }

    /// The problems that any replica tells; who was not asked is said.
    ///
    /// # Errors
    /// When no replica answers.
    pub(crate) async fn all_problems(&self, replicas: &mut Replicas) -> Result<Vec<v1::Problem>, Failure> {
        let (problems, failed) = replicas.ask(async |client| self.list(client).await).await.any()?;
        let missed = replicas.missed.iter().chain(&failed);
        say(self.program, &missed.map(ToString::to_string).collect::<Vec<_>>());
        Ok(together(problems))
    }

    async fn list(&self, mut client: Client) -> Result<Vec<v1::Problem>, Status> {
        let namespace = self.namespace.map(ToString::to_string).unwrap_or_default();
        Ok(client.list_problems(v1::ListProblemsRequest { namespace }).await?.into_inner().problems)
    }
}

/// The problems that any replica tells, each once: those of objects all tell, those of a node the one that serves it.
fn together(answers: Vec<(String, Vec<v1::Problem>)>) -> Vec<v1::Problem> {
    let (mut all, mut known) = (Vec::new(), HashSet::new());
    for problem in answers.into_iter().flat_map(|(_, problems)| problems) {
        if known.insert(problem.clone()) {
            all.push(problem);
        }
    }
    // Stable: the problems of one object stay in the order in which a compiler tells them.
    all.sort_by(|a, b| a.object.cmp(&b.object));
    all
}

async fn script(replicas: Replicas, node: String, format: Format) -> Result<(), Failure> {
    let question = async |mut client: Client| {
        Ok(client.get_script(v1::GetScriptRequest { node: node.clone() }).await?.into_inner())
    };
    // Who does not serve the node does not hear of its facts, and may make another script of the same objects.
    let answer = replicas.first(question, |answer: &v1::GetScriptResponse| answer.served).await?;
    Ok(print::script(&answer, format)?)
}

async fn output(replicas: Replicas, node: String, format: Format) -> Result<(), Failure> {
    let question = async |mut client: Client| {
        Ok(client.get_output(v1::GetOutputRequest { node: node.clone() }).await?.into_inner())
    };
    let answer = replicas.first(question, |answer: &v1::GetOutputResponse| answer.served).await?;
    Ok(print::output(answer, format)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_replicas_tell_is_told_once() {
        let problem = |object: &str, field: &str| v1::Problem {
            object: object.to_owned(),
            field: field.to_owned(),
            ..v1::Problem::default()
        };
        let both = [problem("NetworkPolicy shop/web", "b"), problem("NetworkPolicy shop/web", "a")];
        let first = [both.to_vec(), vec![problem("Node n1", "")]].concat();
        let second = [both.to_vec(), vec![problem("Node n0", "")]].concat();
        let all = together(vec![("a".to_owned(), first), ("b".to_owned(), second)]);
        let expected = [both.to_vec(), vec![problem("Node n0", ""), problem("Node n1", "")]].concat();
        assert_eq!(all, expected);
    }
}
