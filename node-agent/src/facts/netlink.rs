//! Netlink messages of rtnetlink and nf_tables: questions for all there is of something, and the answers taken apart. Pure.

/// Header of every message: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// Header of an attribute: length and type.
const ATTRIBUTE: usize = 4;
/// The upper bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_ALL: u16 = 0x1 | 0x300;
/// `NLM_F_DUMP_INTR`: what is told has changed while it was told.
const INTERRUPTED: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// One of those that were asked for: its type, and what follows its header.
    One(u16, &'a [u8]),
    /// There are no more.
    Done,
    /// The kernel refuses, with this error number.
    Error(i32),
}

/// The messages of a datagram; what is cut off or says a wrong length is left out, with all that follows.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(array(rest, 0)?)).ok()?;
        let body = rest.get(HEADER..length)?;
        let kind = u16::from_ne_bytes(array(rest, 4)?);
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(match kind {
            NLMSG_DONE => Message::Done,
            NLMSG_ERROR => Message::Error(-array(body, 0).map_or(0, i32::from_ne_bytes)),
            _ => Message::One(kind, body),
        })
    })
}

/// Returns true if a message of the datagram says that something may be missing from the answer.
pub(super) fn is_interrupted(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let (Some(length), Some(flags)) = (array(rest, 0), array(rest, 6)) {
        if u16::from_ne_bytes(flags) & INTERRUPTED != 0 {
            return true;
        }
        // At least a header: a length of 0 would have this go on for ever.
        let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX).max(HEADER);
        rest = rest.get(aligned(length.min(rest.len()))..).unwrap_or_default();
    }
    false
}

/// The attributes of a message behind `start` bytes, or of another attribute.
pub(crate) fn attributes(bytes: &[u8], start: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes.get(start..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        let kind = u16::from_ne_bytes(array(rest, 2)?) & ATTRIBUTE_TYPE;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The question for all that there is of something.
pub(crate) fn question(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_ALL.to_ne_bytes());
    message.resize(HEADER, 0);
    message.extend(body);
    message
}

/// A text that the kernel ends with a zero; `None` if people could not read it.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes.strip_suffix(b"\0").unwrap_or(bytes)).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An attribute as the kernel writes it.
    pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    /// A message as the kernel writes it.
    pub(in crate::facts) fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    #[test]
    fn messages_and_attributes_are_taken_apart() {
        let body = [&[7; 8][..], &attribute(1, b"ab"), &attribute(2 | 0x8000, b"abcd")].concat();
        let error = (-95_i32).to_ne_bytes();
        let datagram =
            [message(16, &body), message(NLMSG_ERROR, &error), message(NLMSG_DONE, &[0; 4])].concat();
        let all: Vec<_> = messages(&datagram).collect();
        assert_eq!(all, [Message::One(16, &body), Message::Error(95), Message::Done]);
        assert_eq!(attributes(&body, 8).collect::<Vec<_>>(), [(1, &b"ab"[..]), (2, b"abcd")]);
    }

    #[test]
    fn an_answer_from_which_something_may_be_missing_is_known() {
        let mut datagram = [message(16, &[7; 9]), message(16, &[]), message(NLMSG_DONE, &[0; 4])].concat();
        assert!(!is_interrupted(&datagram) && !is_interrupted(&[]) && !is_interrupted(&[0; 64]));
        let second = message(16, &[7; 9]).len();
        datagram[second + 6] = 0x12;
        assert!(is_interrupted(&datagram));
        for length in 0..second + 8 {
            assert!(!is_interrupted(&datagram[..length]), "{length} bytes");
        }
        datagram[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(!is_interrupted(&datagram), "what follows a wrong length is nothing");
    }

    #[test]
    fn what_is_cut_off_or_says_a_wrong_length_ends_it() {
        let whole = message(16, &[&[0; 8][..], &attribute(1, b"abcdef")].concat());
        for length in 0..whole.len() {
            assert_eq!(messages(&whole[..length]).count(), 0, "{length} bytes");
        }
        let inner = attribute(1, b"abcd");
        for length in 0..inner.len() {
            assert_eq!(attributes(&inner[..length], 0).count(), 0, "{length} bytes");
        }
        for wrong in [0, 3, u32::MAX] {
            let mut endless = whole.clone();
            endless[..4].copy_from_slice(&wrong.to_ne_bytes());
            assert_eq!(messages(&endless).count(), 0);
        }
        assert_eq!(attributes(&[0; 64], 0).count(), 0);
        assert_eq!(attributes(&[], 16).count(), 0);
    }
}
