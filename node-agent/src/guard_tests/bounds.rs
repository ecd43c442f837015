//! What a script may cost.

use super::*;

/// Ports in a rule are elements like others: 2.8 million of them fit into the bytes of a step.
#[test]
fn ports_of_tunnels_are_elements() {
    let rule = |ports: usize| {
        let ports: Vec<String> = (1..=ports).map(|port| port.to_string()).collect();
        format!("udp dport {{ {} }} iifname @pod_links goto tunnel_ends", ports.join(", "))
    };
    let accepting = |ports: usize| with_rule(&rule(ports).replace("goto tunnel_ends", "accept"));
    passes(&accepting(72));
    assert!(matches!(refused(&accepting(73)).why, Why::TooMany { .. }));
    let again = "flush chain inet flock_netpol translated\n";
    let add = format!("add rule inet flock_netpol translated {}\n", rule(72));
    let many = format!("{again}{add}").repeat(1_000);
    let Refused { line, why } = refused(&many);
    assert!(matches!(why, Why::TooMany { limit: 65_536, .. }), "{why}");
    assert_eq!(line, 2 * (65_536 / 72 + 1));
    passes(&format!("{}# step\n", format!("{again}{add}").repeat(900)).repeat(2));
}

#[test]
fn elements_sets_and_chains_are_bounded() {
    let set = |number: usize, elements: &str| {
        let elements = if elements.is_empty() {
            String::new()
        } else {
            format!("\t\telements = {{\n{elements}\t\t}}\n")
        };
        format!("\tset pods4_{number:032x} {{\n\t\ttypeof ip saddr\n{elements}\t}}\n")
    };
    let elements = |count: usize| {
        let lines = (0..count / 8).map(|line| {
            let addresses =
                (0..8).map(|at| std::net::Ipv4Addr::from(0x0a00_0000 + (line * 8 + at) as u32).to_string());
            format!("\t\t\t{}", addresses.collect::<Vec<_>>().join(", "))
        });
        lines.collect::<Vec<_>>().join(",\n") + "\n"
    };
    let costs = passes(&full(&set(1, &elements(50_000))));
    assert_eq!(costs.totals().elements, 50_000);
    assert!(matches!(refused(&full(&set(1, &elements(100_000)))).why, Why::TooMany { .. }));
    // In steps, as much as a table may have.
    let mut costs = costs;
    for number in 2.. {
        let step = format!("table inet flock_netpol {{\n{}}}\n# step\n", set(number, &elements(50_000)));
        match check(&costs, step.as_bytes()) {
            Ok(after) => costs = after,
            Err(refused) => {
                assert!(matches!(refused.why, Why::TooMany { .. }));
                assert_eq!(number, 21);
                break;
            }
        }
    }
    let sets: String = (1..=16_000).map(|number| set(number, "")).collect();
    assert!(matches!(refused(&full(&sets)).why, Why::TooMany { .. }));
    // Sets that rules hold count like others.
    let rule = "ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 } accept\n".repeat(20);
    let unnamed: String = (1..=1_000).map(|number| chain(&format!("ingress_{number:032x}"), &rule)).collect();
    assert!(matches!(refused(&full(&unnamed)).why, Why::TooMany { .. }));
    let chains: String = (1..=20_000).map(|number| chain(&format!("ingress_{number:032x}"), "")).collect();
    assert!(matches!(refused(&full(&chains)).why, Why::TooMany { .. }));
}
