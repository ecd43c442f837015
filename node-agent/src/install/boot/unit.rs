//! The unit by which systemd restores the ruleset before a node's pods start. Pure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flock_shared::NodeName;

/// Its name.
pub const NAME: &str = "flock-restore.service";

/// How much longer than the program itself systemd waits for it.
const MARGIN: Duration = Duration::from_secs(10);

/// What may start pods, or brings up what they run in.
const BEFORE: &str = "kubelet.service containerd.service crio.service docker.service cri-docker.service k3s.service \
                      k3s-agent.service rke2-server.service rke2-agent.service k0scontroller.service \
                      k0sworker.service";
/// What may flush every table when it starts.
const AFTER: &str = "local-fs.target nftables.service firewalld.service ufw.service iptables.service";

/// What the unit runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// How the agent is started, as words.
    pub agent: Vec<String>,
    /// How it starts nft, as words.
    pub nft: Vec<String>,
    /// Where the ruleset is saved.
    pub state_dir: PathBuf,
    /// The folder of the programs.
    pub prefix: PathBuf,
    /// Whose ruleset it has to be.
    pub node: Option<NodeName>,
    /// How long it may take.
    pub within: Duration,
}

impl Unit {
    /// The file.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { agent, nft, state_dir, prefix, node, within } = self;
        let (state_dir, prefix) = (state_dir.display(), prefix.display());
        let node = node.as_ref().map(|node| format!(" --node={node}")).unwrap_or_default();
        let (agent, nft, seconds) = (agent.join(" "), nft.join(" "), within.as_secs_f64());
        let limit = (*within + MARGIN).as_secs();
        format!(
            "\
# Written by flock-node-agent install-restore; uninstall-restore removes it.
[Unit]
Description=The network policies that flock-netpol enforced before the node stopped
ConditionPathIsDirectory={state_dir}
RequiresMountsFor={state_dir} {prefix}
After={AFTER}
Before={BEFORE}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={agent} --restore --state-dir={state_dir}{node} --restore-timeout={seconds} --nft '{nft}'
# The node starts all the same.
TimeoutStartSec={limit}
TimeoutStopSec=5
# nft wants to be root, and needs this right only.
CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
IPAddressDeny=any
UMask=0077

[Install]
WantedBy=multi-user.target
"
        )
    }
}

/// A path that stands in a unit, and in a command within it, as it is.
///
/// # Errors
/// When it is none: what would have to be quoted is refused.
pub fn plain(text: &str) -> Result<PathBuf, String> {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"/._-+".contains(&letter);
    let path = Path::new(text);
    let goes_up = path.components().any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && text.bytes().all(is_plain) && !goes_up && text.len() > 1 {
        Ok(path.components().collect())
    } else {
        Err("expected an absolute path of letters, digits, / . _ - and +".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Unit {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        Unit {
            agent: words("/opt/flock/bin/flock-node-agent"),
            nft: words("/opt/flock/lib/ld.so.2 --library-path /opt/flock/lib /opt/flock/bin/nft"),
            state_dir: "/var/lib/flock".into(),
            prefix: "/opt/flock".into(),
            node: Some("n1".parse().unwrap()),
            within: Duration::from_secs(20),
        }
    }

    #[test]
    fn it_runs_the_agent_before_kubelet_and_waits_longer_than_that_does() {
        let text = unit().text();
        let line = "ExecStart=/opt/flock/bin/flock-node-agent --restore --state-dir=/var/lib/flock --node=n1 \
                    --restore-timeout=20 --nft '/opt/flock/lib/ld.so.2 --library-path /opt/flock/lib /opt/flock/bin/nft'\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("\nBefore=kubelet.service containerd.service "), "{text}");
        assert!(text.contains("\nTimeoutStartSec=30\n"), "{text}");
        let mut names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        assert!(names.all(|name| name.chars().all(char::is_alphanumeric)), "{text}");
    }

    #[test]
    fn only_paths_that_need_no_quotes_are_taken() {
        assert_eq!(plain("/opt/flock-1.2/x_y/"), Ok("/opt/flock-1.2/x_y".into()));
        for odd in ["", "/", "opt", "/a b", "/a'", "/a%b", "/a$b", "/a/../b", "/a\n", "/ä", "/a;b", "/a\\b"]
        {
            assert!(plain(odd).is_err(), "{odd:?}");
        }
    }
}
