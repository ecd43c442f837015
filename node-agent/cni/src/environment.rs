//! What a runtime says in the environment: the command and the attachment that it is about.

use crate::failure::{Code, Failure};

const MESSAGE: &str = "invalid environment variables";
/// The longest name of an interface, in bytes (`IFNAMSIZ` without its end).
const LONGEST_INTERFACE: usize = 15;

/// The variables as they are; one that is missing is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`.
    pub command: String,
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`.
    pub namespace: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `CNI_ARGS`.
    pub args: String,
}

/// What the plugin is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A container is added to a network.
    Add,
    /// It is gone.
    Del,
    /// Whether it is still as it was.
    Check,
    /// All others are gone.
    Gc,
    /// Whether `ADD` would do.
    Status,
    /// Which versions of the specification there are.
    Version,
}

impl Environment {
    /// This process's.
    #[must_use]
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self {
            command: variable("CNI_COMMAND"),
            container: variable("CNI_CONTAINERID"),
            namespace: variable("CNI_NETNS"),
            interface: variable("CNI_IFNAME"),
            args: variable("CNI_ARGS"),
        }
    }

    /// The command, once everything is there that it needs.
    ///
    /// # Errors
    /// With the names of the variables that are missing or are none.
    pub fn command(&self) -> Result<Command, Failure> {
        let command = match self.command.as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            "" => return Err(invalid("CNI_COMMAND is missing".to_owned())),
            _ => return Err(invalid(format!("CNI_COMMAND is {:?}", shortened(&self.command)))),
        };
        let is_attachment = matches!(command, Command::Add | Command::Del | Command::Check);
        let required = [
            ("CNI_CONTAINERID", &self.container, is_attachment),
            // Optional for DEL, says the specification: the namespace may be gone.
            ("CNI_NETNS", &self.namespace, is_attachment && command != Command::Del),
            ("CNI_IFNAME", &self.interface, is_attachment),
        ];
        let missing: Vec<&str> = required
            .into_iter()
            .filter(|(_, value, is_required)| *is_required && value.is_empty())
            .map(|(name, ..)| name)
            .collect();
        if !missing.is_empty() {
            return Err(invalid(format!("missing: {}", missing.join(", "))));
        }
        if is_attachment && !is_container(&self.container) {
            return Err(invalid(format!("CNI_CONTAINERID is {:?}", shortened(&self.container))));
        }
        if is_attachment && !is_interface(&self.interface) {
            return Err(invalid(format!("CNI_IFNAME is {:?}", shortened(&self.interface))));
        }
        Ok(command)
    }
}

fn invalid(details: String) -> Failure {
    Failure::new(Code::Environment, MESSAGE, details)
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn is_container(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && id.bytes().all(plain)
}

fn is_interface(name: &str) -> bool {
    let forbidden = |character: char| character.is_whitespace() || matches!(character, '/' | ':');
    name.len() <= LONGEST_INTERFACE && name != "." && name != ".." && !name.contains(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add() -> Environment {
        Environment {
            command: "ADD".to_owned(),
            container: "3fa9".to_owned(),
            namespace: "/run/netns/x".to_owned(),
            interface: "eth0".to_owned(),
            args: String::new(),
        }
    }

    #[test]
    fn each_command_needs_what_it_is_about() {
        assert_eq!(add().command(), Ok(Command::Add));
        let of = |command: &str| Environment { command: command.to_owned(), ..Environment::default() };
        let missing = |command: &str| of(command).command().map_err(|failure| failure.details);
        assert_eq!(missing("ADD"), Err("missing: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME".to_owned()));
        assert_eq!(missing("CHECK"), Err("missing: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME".to_owned()));
        assert_eq!(missing("DEL"), Err("missing: CNI_CONTAINERID, CNI_IFNAME".to_owned()));
        assert_eq!(missing("GC"), Ok(Command::Gc));
        assert_eq!(missing("STATUS"), Ok(Command::Status));
        assert_eq!(missing("VERSION"), Ok(Command::Version));
        assert_eq!(missing(""), Err("CNI_COMMAND is missing".to_owned()));
        assert_eq!(missing("add"), Err("CNI_COMMAND is \"add\"".to_owned()));
    }

    #[test]
    fn a_container_and_an_interface_have_names() {
        for id in ["-a", ".", "a/b", "a b", "\u{e4}"] {
            let failure = Environment { container: id.to_owned(), ..add() }.command().unwrap_err();
            assert_eq!(
                (failure.code, failure.details),
                (Code::Environment, format!("CNI_CONTAINERID is {id:?}"))
            );
        }
        for name in ["a/b", "a:b", "..", "sixteen-letters-", "a b"] {
            let failure = Environment { interface: name.to_owned(), ..add() }.command().unwrap_err();
            assert_eq!(failure.details, format!("CNI_IFNAME is {name:?}"));
        }
    }
}
