//! What a shell may complete: a script for the shells that know flockctl by its name, and answers for `kubectl`, which
//! asks its plugins' `kubectl_complete-NAME` the way Cobra's programs are asked.

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;

use crate::Program;
use crate::cli::shape;

/// The hidden first argument by which Cobra asks: the words so far follow, the last one as far as it was typed.
pub(crate) const ASKED: &str = "__complete";

/// What Cobra calls `ShellCompDirectiveNoFileComp`: where nothing fits, names of files do not either.
const NO_FILES: &str = ":4";
/// `ShellCompDirectiveDefault`: the shell does what it does by itself, which is names of files.
const FILES: &str = ":0";

/// The script for a shell, which its user's start-up files source.
pub(crate) fn script(shell: Shell, command: &mut Command) -> Vec<u8> {
    let (mut script, name) = (Vec::new(), command.get_name().to_owned());
    clap_complete::generate(shell, command, name, &mut script);
    script
}

/// `kubectl_complete-flock`, which kubectl looks for beside `kubectl-flock`.
pub(crate) fn kubectl() -> String {
    let plugin = Program::KubectlPlugin.file();
    format!(
        "#!/bin/sh\n# Completes `kubectl flock` for kubectl, which finds both on its path.\nexec {plugin} {ASKED} \"$@\"\n"
    )
}

/// What may follow `words`, the last of which is being typed: lines of a word, a tab and what it is, then a directive.
pub(crate) fn answer(command: &mut Command, words: &[String]) -> String {
    // Until it is built, subcommands lack the global options, which may be typed behind them, too.
    command.build();
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut place = Place { command, option: None };
    before.iter().for_each(|word| place.after(word));
    let (found, directive) = place.candidates(typed);
    let lines = found.into_iter().filter(|(word, _)| word.starts_with(typed));
    let lines = lines.map(|(word, about)| if about.is_empty() { word } else { format!("{word}\t{about}") });
    lines.chain([directive.to_owned()]).map(|line| line + "\n").collect()
}

/// Where a command line has come to.
struct Place<'a> {
    command: &'a Command,
    /// The option whose value comes next.
    option: Option<&'a Arg>,
}

impl<'a> Place<'a> {
    fn after(&mut self, word: &str) {
        // It is the value of that option, even if it looks like a subcommand or another option.
        if self.option.take().is_some() {
            return;
        }
        if let Some(subcommand) = self.command.find_subcommand(word) {
            self.command = subcommand;
        } else if word.starts_with('-') {
            // No option is called `--name=value` as a whole, which is as well: the value has come already.
            self.option = self.named(word).filter(|option| takes_value(option));
        }
    }

    fn named(&self, word: &str) -> Option<&'a Arg> {
        self.command.get_opts().find(|option| match word.strip_prefix("--") {
            Some(long) => option.get_long() == Some(long),
            None => option.get_short().is_some_and(|short| word == format!("-{short}")),
        })
    }

    /// Words and what they are, all that could stand here.
    fn candidates(&self, typed: &str) -> (Vec<(String, String)>, &'static str) {
        if let Some(option) = self.option {
            return (self.values(option), directive(option));
        }
        if let Some((name, _)) = typed.split_once('=')
            && let Some(option) = self.named(name)
        {
            let with_name =
                self.values(option).into_iter().map(|(value, about)| (format!("{name}={value}"), about));
            return (with_name.collect(), directive(option));
        }
        if typed.starts_with('-') {
            let shown = self.command.get_arguments().filter(|argument| !argument.is_hide_set());
            let long =
                shown.filter_map(|it| Some((format!("--{}", it.get_long()?), first_line(it.get_help()))));
            return (long.collect(), NO_FILES);
        }
        let shown = self.command.get_subcommands().filter(|it| !it.is_hide_set());
        let mut found: Vec<_> =
            shown.map(|it| (it.get_name().to_owned(), first_line(it.get_about()))).collect();
        found.extend(self.command.get_positionals().flat_map(values));
        (found, NO_FILES)
    }

    /// The values of an option; of `--output` those that this command prints.
    fn values(&self, option: &Arg) -> Vec<(String, String)> {
        let mut all = values(option);
        if option.get_long() == Some("output") {
            let printed: Vec<String> =
                shape::of(self.command.get_name()).iter().map(|shape| shape.word()).collect();
            all.retain(|(value, _)| printed.contains(value));
        }
        all
    }
}

fn takes_value(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Set | ArgAction::Append)
}

fn values(argument: &Arg) -> Vec<(String, String)> {
    let shown = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    shown.map(|value| (value.get_name().to_owned(), first_line(value.get_help()))).collect()
}

fn directive(option: &Arg) -> &'static str {
    let file = option
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .any(|name| name.contains("FILE") || name == "PATH");
    if file { FILES } else { NO_FILES }
}

/// The first line: what is told stands beside the word.
fn first_line(help: Option<&StyledStr>) -> String {
    help.map(|help| help.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    fn answered(words: &[&str]) -> (Vec<String>, String) {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        let answer = answer(&mut command(Program::KubectlPlugin), &words);
        let mut lines: Vec<_> = answer.lines().map(str::to_owned).collect();
        let directive = lines.pop().unwrap();
        (lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect(), directive)
    }

    #[test]
    fn what_may_follow_is_told() {
        let told = |words: &[&str]| answered(words).0;
        let all = told(&[""]);
        for name in
            ["nodes", "script", "problems", "completion", "version", "explain", "can", "who-can", "lint"]
        {
            assert!(all.iter().any(|it| it == name), "{name}: {all:?}");
        }
        assert!(!all.iter().any(|it| it.starts_with('_')), "{all:?}");
        assert_eq!(told(&["no"]), ["nodes"]);
        assert_eq!(answered(&["lint", "--manifests", ""]), (vec![], FILES.to_owned()));
        assert_eq!(answered(&["preview", "-f", ""]), (vec![], FILES.to_owned()));
        assert_eq!(told(&["--context", "nodes", "pro"]), ["problems"]);
        for words in [&["nodes", "-o", ""][..], &["--output", ""]] {
            assert_eq!(told(words)[..2], ["table", "wide"], "{words:?}");
        }
        assert_eq!(told(&["nodes", "-o", ""]), ["table", "wide", "json", "yaml"]);
        assert_eq!(told(&["check", "-o", ""]), ["table", "json", "short"]);
        assert!(told(&["lint", "-o", ""]).contains(&"sarif".to_owned()));
        assert_eq!(told(&["lint", "--min-severity", ""]), ["info", "warning", "error"]);
        assert_eq!(told(&["who-can", "re"]), ["reach"]);
        assert_eq!(told(&["nodes", "--output=j"]), ["--output=json"]);
        assert_eq!(told(&["nodes", "--beh"]), ["--behind"]);
        assert_eq!(told(&["problems", "--beh"]), [""; 0]);
        assert!(told(&["completion", ""]).contains(&"bash".to_owned()));
    }

    #[test]
    fn files_are_completed_where_files_are_meant() {
        assert_eq!(answered(&["nodes", "--kubeconfig", ""]), (vec![], FILES.to_owned()));
        assert_eq!(answered(&["nodes", "--context", ""]), (vec![], NO_FILES.to_owned()));
        assert_eq!(answered(&["script", ""]), (vec![], NO_FILES.to_owned()));
        assert_eq!(answered(&[]).1, NO_FILES);
    }

    #[test]
    fn each_shell_has_a_script_that_knows_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell, &mut command(Program::Flockctl))).unwrap();
            assert!(script.contains("flockctl") && script.contains("problems"), "{shell}: {script}");
        }
    }
}
