//! Ports as they are typed: `5432`, `53/UDP`; of a Service also by name.

use flock_proto::v1;

/// What a port may look like.
pub(crate) const EXPECTED: &str = "expected PORT or PORT/PROTO, such as 5432 or 53/UDP";

/// The protocol of flows without ports, such as ICMP.
const OTHER: &str = "other";

/// A port as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypedPort {
    pub(crate) number: NumberOrName,
    /// `None`: nothing was said.
    pub(crate) protocol: Option<&'static str>,
}

/// A number, or what a Service calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NumberOrName {
    Number(u16),
    Name(String),
}

impl TypedPort {
    /// Reads a port.
    ///
    /// # Errors
    /// With what was found and what was expected.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        // Before names: a port of a Service that is called so is asked about by its number.
        if text == OTHER {
            return Ok(Self { number: NumberOrName::Number(0), protocol: Some(OTHER) });
        }
        let (number, protocol) = match text.split_once('/') {
            None => (text, None),
            Some((number, protocol)) => (number, Some(self::protocol(text, protocol)?)),
        };
        let number = match number.parse::<u16>() {
            Ok(number) if number > 0 => NumberOrName::Number(number),
            _ if is_name(number) => NumberOrName::Name(number.to_owned()),
            _ => return Err(format!("port {text:?}: {EXPECTED}; numbers are 1 to 65535")),
        };
        Ok(Self { number, protocol })
    }

    /// The port of an end that is no Service.
    ///
    /// # Errors
    /// If it is a name: only Services have names for ports that clients use.
    pub(crate) fn number(&self) -> Result<v1::Port, String> {
        match &self.number {
            NumberOrName::Number(number) => Ok(v1::Port {
                protocol: self.protocol.unwrap_or("TCP").to_owned(),
                number: u32::from(*number),
            }),
            NumberOrName::Name(name) => Err(format!(
                "port {name:?}: {EXPECTED}; only ports of a Service (NS/svc/NAME) have names here"
            )),
        }
    }
}

fn protocol(text: &str, protocol: &str) -> Result<&'static str, String> {
    let known = ["TCP", "UDP", "SCTP"].into_iter().find(|known| known.eq_ignore_ascii_case(protocol));
    known.ok_or_else(|| format!("port {text:?}: {protocol:?} is no protocol; expected TCP, UDP or SCTP"))
}

/// Returns true if a Service may call a port so (RFC 1123); what is all digits is a number.
fn is_name(text: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(is_usual)
        && text.chars().any(|c| c.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_with_their_protocols() {
        let read = |text: &str| TypedPort::read(text).unwrap().number().unwrap();
        let port = |protocol: &str, number| v1::Port { protocol: protocol.to_owned(), number };
        assert_eq!(read("5432"), port("TCP", 5432));
        assert_eq!(read("53/udp"), port("UDP", 53));
        assert_eq!(read("1/SCTP"), port("SCTP", 1));
        assert_eq!(read("other"), port("other", 0));
    }

    #[test]
    fn what_is_no_port_is_told_what_one_is() {
        for (wrong, told) in [
            ("", "PORT/PROTO"),
            ("0", "1 to 65535"),
            ("65536", "1 to 65535"),
            ("-1", "1 to 65535"),
            ("80/", "TCP, UDP or SCTP"),
            ("80/icmp", "TCP, UDP or SCTP"),
            ("80/tcp/udp", "TCP, UDP or SCTP"),
            ("a_b", "PORT/PROTO"),
            ("80\u{1b}[0m", "PORT/PROTO"),
        ] {
            let error = TypedPort::read(wrong).unwrap_err();
            assert!(error.contains(told) && !error.contains('\u{1b}'), "{wrong}: {error}");
        }
        let named = TypedPort::read("http").unwrap();
        assert!(named.number().unwrap_err().contains("NS/svc/NAME"));
    }
}
