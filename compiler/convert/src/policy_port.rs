//! `NetworkPolicyPort`: a number, a range, a name or a protocol alone.

use flock_compiler_core::object::{PortMatch, PortName, RulePorts};
use flock_compiler_core::port::{PortRange, Protocol};

use super::field::{Faults, Field, quoted};

/// `ports`; absent or empty: any port of any protocol.
pub(super) fn ports(rule: &Field<'_>, faults: &mut Faults) -> RulePorts {
    let Some(listed) = rule.get("ports") else { return RulePorts::Any };
    let items = listed.items(faults);
    if items.len() == 0 {
        return RulePorts::Any;
    }
    let mut matches = Vec::with_capacity(items.len());
    for item in items {
        matches.extend(port(&item, faults));
    }
    RulePorts::OneOf(matches)
}

fn port(item: &Field<'_>, faults: &mut Faults) -> Option<PortMatch> {
    item.only(&["protocol", "port", "endPort"], faults);
    // Read first and asked for last: a fault of it and one of the port are both told.
    let protocol = protocol(item, faults);
    let end = item.get("endPort");
    let Some(port) = item.get("port") else {
        if let Some(end) = end {
            faults.at(&end, "is given without port; a range needs both");
        }
        return Some(PortMatch::Range(PortRange::all(protocol?)));
    };
    if port.is_text() {
        if let Some(end) = end {
            faults.at(&end, "is given with a named port; a range needs a number in port");
        }
        // A number in quotes is a name to the API, and none that is valid: names have a letter.
        let name = port.parsed(faults, port_name)?;
        return Some(PortMatch::Named { protocol: protocol?, name });
    }
    let first = port.port(faults);
    let last = match &end {
        Some(end) => end.port(faults),
        None => first,
    };
    let (first, last) = (first?, last?);
    match (PortRange::new(protocol?, first, last), end) {
        (None, Some(end)) => {
            faults.at(&end, format!("found {last}; expected at least port, which is {first}"));
            None
        }
        (range, _) => range.map(PortMatch::Range),
    }
}

/// `protocol`; TCP if absent.
pub(super) fn protocol(item: &Field<'_>, faults: &mut Faults) -> Option<Protocol> {
    let Some(field) = item.get("protocol") else { return Some(Protocol::Tcp) };
    let text = field.text(faults)?;
    let known = Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == text);
    if known.is_none() {
        faults.at(&field, format!("{} is not a protocol; expected TCP, UDP or SCTP", quoted(text)));
    }
    known
}

/// An IANA service name (RFC 6335, section 5.1), which the API requires of a port that is no number.
pub(super) fn port_name(name: &str) -> Result<PortName, String> {
    const LIMIT: usize = 15;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = (1..=LIMIT).contains(&name.len())
        && name.bytes().all(allowed)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if valid {
        Ok(PortName::new(name))
    } else {
        Err(format!(
            "{} is neither a number nor a port name: 1 to {LIMIT} lower case letters, digits and single inner '-', \
             at least one letter",
            quoted(name)
        ))
    }
}
