//! Where probes come to.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The address at which probes are answered, or nowhere.
///
/// On loopback only: what is told there is for kubelet, which is on the same node and probes `127.0.0.1` where it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthListen(Option<SocketAddr>);

/// Why a text is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HealthListenError {
    /// It does not parse.
    #[error("is neither an address with a port, such as 127.0.0.1:7445 or [::1]:7445, nor none")]
    Malformed,
    /// Others than this node could ask.
    #[error("is not on loopback (127.0.0.0/8, ::1): kubelet probes with host: 127.0.0.1")]
    BeyondLoopback,
}

impl HealthListen {
    /// What switches it off.
    const NONE: &'static str = "none";

    /// Nowhere.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The address, if there is one.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        self.0
    }
}

impl FromStr for HealthListen {
    type Err = HealthListenError;

    fn from_str(text: &str) -> Result<Self, HealthListenError> {
        if text == Self::NONE {
            return Ok(Self::none());
        }
        let address: SocketAddr = text.parse().map_err(|_| HealthListenError::Malformed)?;
        // `::ffff:127.0.0.1` is on loopback, too.
        if address.ip().to_canonical().is_loopback() {
            Ok(Self(Some(address)))
        } else {
            Err(HealthListenError::BeyondLoopback)
        }
    }
}

impl fmt::Display for HealthListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str(Self::NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_or_none() {
        for text in ["127.0.0.1:7445", "127.8.9.1:1", "[::1]:7445", "none"] {
            assert_eq!(text.parse::<HealthListen>().unwrap().to_string(), text);
        }
        for text in ["0.0.0.0:7445", "10.0.0.1:7445", "[::]:7445", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(text.parse::<HealthListen>(), Err(HealthListenError::BeyondLoopback), "{text}");
        }
        for text in ["", "7445", ":7445", "localhost:7445", "127.0.0.1", "off"] {
            assert_eq!(text.parse::<HealthListen>(), Err(HealthListenError::Malformed), "{text}");
        }
    }
}
