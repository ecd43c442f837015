//! The machine that figures belong to.

use std::fs;
use std::process::Command;

/// One line: processor and cores, kernel, nft. What cannot be found out is left out.
#[must_use]
pub fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let names = text.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let names: Vec<&str> = names.map(|(_, name)| name.trim()).collect();
        Some(format!("{} × {}", names.len(), names.first()?))
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.map(|release| format!("Linux {}", release.trim()));
    let nft = Command::new("nft").arg("--version").output().ok();
    let nft = nft.map(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        text.split(" (").next().unwrap_or_default().trim().replace("nftables v", "nft ")
    });
    [processor, kernel, nft].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
