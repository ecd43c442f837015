//! Words that several screens share: ports, ends, times, counts.

use std::time::{Duration, SystemTime};

use flock_proto::v1;
use prost_types::Timestamp;

/// Where there is nothing to say.
pub(crate) const NOTHING: &str = "–";

/// Digits of a revision that are shown.
pub(crate) const REVISION: usize = 12;

/// Ports for which an answer is the same: `TCP 80, 8000-8100; UDP 53 (dns)`.
pub(crate) fn ports(atoms: &[v1::PortAtom]) -> String {
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for atom in atoms {
        let (protocol, numbers) = atom_words(atom);
        match parts.last_mut() {
            // Of any other numbers there may be several ranges.
            Some((last, all)) if *last == protocol => {
                all.extend(numbers.filter(|numbers| all.last() != Some(numbers)));
            }
            _ => parts.push((protocol, numbers.into_iter().collect())),
        }
    }
    let words = parts.into_iter().map(|(protocol, numbers)| match numbers.is_empty() {
        true => protocol,
        false => format!("{protocol} {}", numbers.join(", ")),
    });
    words.collect::<Vec<_>>().join("; ")
}

fn atom_words(atom: &v1::PortAtom) -> (String, Option<String>) {
    let v1::PortAtom { protocol, first, last, name, any_other } = atom;
    match protocol.as_str() {
        "any" => ("everything".to_owned(), None),
        "other" => ("protocols without ports".to_owned(), None),
        _ if *any_other => (protocol.clone(), Some("any other".to_owned())),
        _ if (*first, *last) == (1, 65535) || (*first, *last) == (0, 65535) => {
            (protocol.clone(), Some("all".to_owned()))
        }
        _ => {
            let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
            let numbers =
                if first == last { format!("{first}{name}") } else { format!("{first}-{last}{name}") };
            (protocol.clone(), Some(numbers))
        }
    }
}

/// Ports, or that it is everything.
pub(crate) fn ports_or_everything(atoms: &[v1::PortAtom], everything: bool) -> String {
    if everything { "everything".to_owned() } else { ports(atoms) }
}

/// A port: `TCP 5432`.
pub(crate) fn port(port: Option<&v1::Port>) -> String {
    match port {
        None => "every port".to_owned(),
        Some(port) if port.protocol == "other" => "a protocol without ports".to_owned(),
        Some(port) => format!("{} {}", port.protocol, port.number),
    }
}

/// An end with where it is: `shop/api-5f6b (10.244.1.11, worker-1)`.
pub(crate) fn place(end: Option<&v1::ShownEnd>) -> String {
    let Some(end) = end else { return NOTHING.to_owned() };
    // A name of some of several says how many that is.
    let is_counted = end.name.ends_with(')');
    let pods = (end.pods > 1 && !is_counted).then(|| format!("{} pods", end.pods));
    let endpoints = match (end.endpoints, end.endpoints_total) {
        (Some(ready), Some(total)) if !is_counted => Some(format!("{ready} of {total} endpoints")),
        _ => None,
    };
    let address = end.address.clone().filter(|address| *address != end.name);
    let node = end.node.clone().filter(|node| end.name != format!("node/{node}"));
    let details: Vec<String> = [endpoints, pods, address, node].into_iter().flatten().collect();
    match details.is_empty() {
        true => end.name.clone(),
        false => format!("{} ({})", end.name, details.join(", ")),
    }
}

/// The name of an end.
pub(crate) fn name(end: Option<&v1::ShownEnd>) -> String {
    end.map_or_else(|| NOTHING.to_owned(), |end| end.name.clone())
}

/// The text of cites, with commas.
pub(crate) fn cites(cites: &[v1::Cite]) -> String {
    cites.iter().map(|cite| cite.text.as_str()).collect::<Vec<_>>().join(", ")
}

/// `1 rule`, `2 rules`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// How long ago, roughly: `4 s`, `22 min`, `3 h`, `5 d`.
pub(crate) fn age(at: &Timestamp, now: SystemTime) -> String {
    // The clock of a compiler may be ahead of this one: what has not been yet is as good as now.
    let seconds = now.duration_since(system_time(at)).map(|age| age.as_secs()).unwrap_or_default();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A time of day as UTC has it, with the date unless it is today.
pub(crate) fn clock(at: &Timestamp, now: SystemTime) -> String {
    let text = Timestamp { nanos: 0, ..*at }.to_string();
    let today = Timestamp::from(now).to_string();
    match (text.split_once('T'), today.split_once('T')) {
        (Some((day, time)), Some((this, _))) => {
            let time = time.trim_end_matches('Z');
            if day == this { time.to_owned() } else { format!("{day} {time}") }
        }
        _ => text,
    }
}

/// The same with milliseconds.
pub(crate) fn precise(at: &Timestamp, now: SystemTime) -> String {
    format!("{}.{:03}", clock(at, now), at.nanos.max(0) / 1_000_000)
}

fn system_time(at: &Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(protocol: &str, first: u32, last: u32) -> v1::PortAtom {
        v1::PortAtom { protocol: protocol.to_owned(), first, last, ..v1::PortAtom::default() }
    }

    #[test]
    fn ports_are_grouped_by_protocol() {
        let named = v1::PortAtom { name: "dns".to_owned(), ..atom("UDP", 53, 53) };
        let rest = v1::PortAtom { any_other: true, ..atom("UDP", 0, 65535) };
        let atoms = [atom("TCP", 80, 80), atom("TCP", 8000, 8100), named, rest, atom("other", 0, 0)];
        assert_eq!(ports(&atoms), "TCP 80, 8000-8100; UDP 53 (dns), any other; protocols without ports");
        assert_eq!(ports(&[atom("any", 0, 0)]), "everything");
    }

    #[test]
    fn times_are_of_today_or_have_a_date() {
        let at = |seconds| Timestamp { seconds, nanos: 186_000_000 };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        assert_eq!(clock(&at(99_000), now), "03:30:00");
        assert_eq!(clock(&at(9_000), now), "1970-01-01 02:30:00");
        assert_eq!(precise(&at(99_000), now), "03:30:00.186");
        for (seconds, age) in [(99_996, "4 s"), (98_000, "33 min"), (90_000, "2 h"), (200_000, "0 s")] {
            assert_eq!(self::age(&at(seconds), now), age);
        }
    }
}
