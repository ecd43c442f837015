//! Tokens that continue a listing: opaque to clients, a version and a position to us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::status::Status;

/// Where the next page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Continue {
    /// The version that the first page was read at.
    pub(crate) version: u64,
    /// How many objects earlier pages held.
    pub(crate) offset: usize,
}

impl Continue {
    pub(crate) fn to_token(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}+{}", self.version, self.offset))
    }

    pub(crate) fn parse(token: &str) -> Result<Self, Status> {
        let decode = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
            let (version, offset) = text.split_once('+')?;
            Some(Self { version: version.parse().ok()?, offset: offset.parse().ok()? })
        };
        decode().ok_or_else(|| Status::bad_request("continue: not a token of this server"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_version_and_position_and_nothing_else_passes() {
        let next = Continue { version: 17, offset: 500 };
        assert_eq!(Continue::parse(&next.to_token()), Ok(next));
        for bad in ["", "%", "MTc", "AAAA"] {
            assert!(Continue::parse(bad).is_err(), "{bad:?}");
        }
    }
}
