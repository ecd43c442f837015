//! Numbers as text without an allocation: scripts are made of little else.

use std::net::Ipv4Addr;

/// Decimal numbers and what stands between them, at most so many bytes.
pub(crate) struct Decimals<const N: usize> {
    text: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Decimals<N> {
    fn default() -> Self {
        Self { text: [0; N], length: 0 }
    }
}

impl<const N: usize> Decimals<N> {
    /// Adds an ASCII character, if there is room.
    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: u16) {
        for unit in [10_000, 1_000, 100, 10] {
            if number >= unit {
                self.digit(number / unit % 10);
            }
        }
        self.digit(number % 10);
    }

    fn digit(&mut self, digit: u16) {
        self.push(b"0123456789".get(usize::from(digit)).copied().unwrap_or_default());
    }

    /// What was added.
    pub(crate) fn as_str(&self) -> &str {
        self.text.get(..self.length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

/// An IPv4 address.
pub(crate) fn v4(address: Ipv4Addr) -> Decimals<15> {
    let mut text = Decimals::default();
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push(b'.');
        }
        text.number(octet.into());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn text_is_what_the_standard_library_writes(bits: u32, number: u16) {
            let address = Ipv4Addr::from(bits);
            let written = v4(address);
            proptest::prop_assert_eq!(written.as_str(), address.to_string());
            let mut text: Decimals<5> = Decimals::default();
            text.number(number);
            proptest::prop_assert_eq!(text.as_str(), number.to_string());
        }
    }
}
