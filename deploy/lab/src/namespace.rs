//! A network namespace by name, and threads inside it. Sockets made in a namespace stay in it, whichever thread
//! uses them later.

use std::cmp::Ordering;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::command;
use crate::error::{LabError, Result};

/// Where `ip netns` keeps its namespaces.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A handle on a network namespace of a lab: that of a node, a pod or the underlay. Clones name the same
/// namespace; equality and order are those of the system-wide name.
#[derive(Clone)]
pub struct Namespace {
    /// The name within the lab, such as `web`.
    name: Arc<str>,
    /// The name in the system, such as `flock-lab-4711-0-tag-web`.
    system_name: Arc<str>,
}

impl Namespace {
    /// Makes the namespace, with settings that make both families usable at once and routing predictable.
    pub(crate) fn create(name: &str, system_name: String, forwarding: Forwarding) -> Result<Self> {
        command::ip_batch(None, &[format!("netns add {system_name}")])?;
        let namespace = Self { name: name.into(), system_name: system_name.into() };
        namespace
            .enter(|| forwarding.settings().try_for_each(|(path, value)| set(path, value)))?
            .map_err(|source| namespace.system_error("change network settings", source))?;
        // What a namespace sends to its own addresses goes over `lo`.
        command::ip_batch(Some(namespace.system_name()), &["link set lo up".to_owned()])?;
        Ok(namespace)
    }

    /// The name within the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that `ip netns` knows.
    #[must_use]
    pub fn system_name(&self) -> &str {
        &self.system_name
    }

    /// Runs `body` on a fresh thread inside the namespace and waits for it. A panic in `body` goes on here.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T> {
        // A thread stays where `setns` has put it, so it is one that nobody else uses.
        let entered = thread::scope(|scope| {
            let thread = scope.spawn(|| self.join_current_thread().map(|()| body()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        entered.map_err(|source| self.system_error("enter", source))
    }

    /// Runs a program inside the namespace, feeds it `input`, and returns its standard output.
    ///
    /// # Errors
    /// When the program cannot be started or fails; its standard error is part of the message.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        // A child gets the namespace of the thread that starts it.
        self.enter(|| {
            let mut command = Command::new(program);
            command.args(arguments);
            command::run(command, self.system_name(), input)
        })?
    }

    /// Runs `ip` commands, one per line, inside the namespace.
    ///
    /// # Errors
    /// With the message of `ip` for the first line that fails.
    pub fn ip(&self, lines: &[String]) -> Result<()> {
        command::ip_batch(Some(self.system_name()), lines)
    }

    /// Moves the calling thread into the namespace for good.
    pub(crate) fn join_current_thread(&self) -> io::Result<()> {
        let file = File::open(format!("{DIRECTORY}/{}", self.system_name()))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }

    pub(crate) fn system_error(&self, what: &'static str, source: io::Error) -> LabError {
        LabError::System { what, namespace: self.system_name().to_owned(), source }
    }
}

/// Whether a namespace passes packets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarding {
    /// A node.
    Router,
    /// A pod or the underlay's bridge.
    Host,
}

impl Forwarding {
    fn settings(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let common = [
            // No duplicate address detection: addresses work from the first moment.
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/dad_transmits", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
            // Packets with false sources are the rules' to drop, and have to come that far.
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/all/accept_redirects", "0"),
            ("ipv4/conf/default/accept_redirects", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
            // Sockets for ICMP echo.
            ("ipv4/ping_group_range", "0 2147483647"),
        ];
        let router = [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/default/forwarding", "1"),
        ];
        let own = if self == Self::Router { &router[..] } else { &[] };
        common.into_iter().chain(own.to_vec())
    }
}

fn set(path: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{path}");
    fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.system_name())
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.system_name() == other.system_name()
    }
}

impl Eq for Namespace {}

impl PartialOrd for Namespace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Namespace {
    fn cmp(&self, other: &Self) -> Ordering {
        self.system_name().cmp(other.system_name())
    }
}
