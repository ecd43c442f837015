//! Settings of the kernel below `/proc`, which are those of the network namespace of whoever reads them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use flock_proto::BridgeNf;

/// So much of a file is read; all that is of use stands at its beginning.
const BEGINNING: u64 = 4096;

/// Settings by which packets choose their way: of a device and of all at once.
const SOURCE_ROUTING: [(&str, &str); 3] =
    [("ipv4", "accept_source_route"), ("ipv6", "seg6_enabled"), ("ipv6", "rpl_seg_enabled")];

/// The settings below a folder, which is `/proc` but in tests.
#[derive(Debug)]
pub(super) struct Settings(PathBuf);

impl Default for Settings {
    fn default() -> Self {
        Self("/proc".into())
    }
}

/// The two settings that show what bridges forward to rules, of IPv4 and of IPv6.
pub(super) const BRIDGE_NF: [&str; 2] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];

impl Settings {
    /// What a bridge setting is.
    pub(super) fn bridge_nf(&self, setting: &str) -> BridgeNf {
        match beginning(&self.bridge_file(setting)) {
            Ok(text) if is_on(&text) => BridgeNf::On,
            Ok(_) => BridgeNf::Off,
            Err(_) => BridgeNf::Absent,
        }
    }

    /// Switches a bridge setting on.
    ///
    /// # Errors
    /// When it cannot be written: `/proc/sys` is read-only in a container that is not privileged.
    pub(super) fn show_bridges(&self, setting: &str) -> io::Result<()> {
        fs::write(self.bridge_file(setting), "1")
    }

    fn bridge_file(&self, setting: &str) -> PathBuf {
        self.0.join("sys/net/bridge").join(setting)
    }

    /// Returns true if packets may choose their way: it takes the setting of all devices, and that of one of them.
    pub(super) fn accept_source_route(&self) -> bool {
        SOURCE_ROUTING.into_iter().any(|(family, setting)| {
            let devices = self.0.join("sys/net").join(family).join("conf");
            let is_on = |device: &Path| beginning(&device.join(setting)).is_ok_and(|text| is_on(&text));
            let of_one =
                |device: &fs::DirEntry| device.file_name() != "all" && device.file_name() != "default";
            // Nearly always that of all is off, and no other is read.
            is_on(&devices.join("all"))
                && fs::read_dir(&devices)
                    .is_ok_and(|all| all.flatten().filter(of_one).any(|it| is_on(&it.path())))
        })
    }

    /// The packets that IP has taken in and those that it has forwarded, of both families.
    ///
    /// # Errors
    /// When the kernel does not tell those of IPv4. There may be no IPv6.
    pub(super) fn packets(&self) -> io::Result<[u64; 2]> {
        let v4 = beginning(&self.0.join("net/snmp"))?;
        // The kernel may be without IPv6.
        let v6 = beginning(&self.0.join("net/snmp6")).unwrap_or_default();
        let of_v6 = |name: &str| {
            let line = v6.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            line.unwrap_or(0u64)
        };
        let of_v4 = |name: &str| counter(&v4, "Ip:", name).ok_or(io::ErrorKind::InvalidData);
        Ok([
            of_v4("InReceives")?.saturating_add(of_v6("Ip6InReceives")),
            of_v4("ForwDatagrams")?.saturating_add(of_v6("Ip6OutForwDatagrams")),
        ])
    }

    /// Returns true if IPVS has services.
    pub(super) fn has_ipvs(&self) -> bool {
        beginning(&self.0.join("net/ip_vs")).is_ok_and(|table| lists_services(&table))
    }
}

fn beginning(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(BEGINNING).read_to_string(&mut text)?;
    Ok(text)
}

/// A number out of two lines that begin alike, names and numbers.
fn counter(text: &str, beginning: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(beginning));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|it| it == name)?;
    numbers.split_whitespace().nth(place)?.parse().ok()
}

fn is_on(text: &str) -> bool {
    text.trim().parse::<i64>().is_ok_and(|value| value > 0)
}

/// Returns true if a listing of IPVS goes on behind its heading.
fn lists_services(table: &str) -> bool {
    let services = ["TCP ", "UDP ", "SCTP ", "FWM "];
    table.lines().any(|line| services.iter().any(|protocol| line.starts_with(protocol)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(files: &[(&str, &str)]) -> (tempfile::TempDir, Settings) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let settings = Settings(folder.path().to_owned());
        (folder, settings)
    }

    #[test]
    fn bridge_settings_are_on_off_or_absent() {
        let (_folder, settings) = settings(&[("sys/net/bridge/bridge-nf-call-iptables", "0\n")]);
        assert_eq!(BRIDGE_NF.map(|setting| settings.bridge_nf(setting)), [BridgeNf::Off, BridgeNf::Absent]);
        settings.show_bridges(BRIDGE_NF[0]).unwrap();
        assert_eq!(settings.bridge_nf(BRIDGE_NF[0]), BridgeNf::On);
    }

    #[test]
    fn source_routing_takes_the_setting_of_all_and_of_one() {
        for (all, one, default, expected) in [
            ("1\n", "1\n", "1\n", true),
            ("0\n", "1\n", "1\n", false),
            ("1\n", "0\n", "1\n", false),
            ("-1\n", "1\n", "1\n", false),
        ] {
            for (family, setting) in SOURCE_ROUTING {
                let file = |device: &str| format!("sys/net/{family}/conf/{device}/{setting}");
                let (_folder, settings) =
                    settings(&[(&file("all"), all), (&file("default"), default), (&file("eth0"), one)]);
                assert_eq!(settings.accept_source_route(), expected, "{setting}: {all} {one}");
            }
        }
        assert!(!settings(&[]).1.accept_source_route());
    }

    #[test]
    fn packets_are_those_of_both_families() {
        let v4 = "Ip: Forwarding DefaultTTL InReceives InHdrErrors ForwDatagrams\nIp: 1 64 300 2 40\nIcmp: InMsgs\n";
        let v6 =
            "Ip6InReceives                   \t7\nIp6InHdrErrors  \t1\nIp6OutForwDatagrams             \t3\n";
        let of = |files: &[(&str, &str)]| settings(files).1.packets().ok();
        assert_eq!(of(&[("net/snmp", v4), ("net/snmp6", v6)]), Some([307, 43]));
        assert_eq!(of(&[("net/snmp", v4)]), Some([300, 40]), "without IPv6");
        for bad in
            ["", "Ip: InReceives\n", "Ip: InReceives\nIp: 1\n", "Ip: InReceives ForwDatagrams\nIp: 1 x\n"]
        {
            assert_eq!(of(&[("net/snmp", bad), ("net/snmp6", v6)]), None, "{bad:?}");
        }
    }

    #[test]
    fn ipvs_counts_where_it_has_services() {
        let heading = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
        let service =
            "TCP  0A600001:01BB rr  \n  -> AC120002:192B      Masq    1      0          0         \n";
        assert!(!settings(&[]).1.has_ipvs());
        assert!(!settings(&[("net/ip_vs", heading)]).1.has_ipvs());
        assert!(settings(&[("net/ip_vs", &format!("{heading}{service}"))]).1.has_ipvs());
    }
}
