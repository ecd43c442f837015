//! An update as the bytes of one gRPC message, with the script apart, so that thousands of streams send one copy of it.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::{Update, v1};

/// The number of the field `Update.script`.
const SCRIPT_FIELD: u32 = 3;

/// Scripts up to this length are copied: a second piece costs more than that.
const SMALL: usize = 1024;

/// Bytes of a message's prefix: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// One gRPC message in two pieces, of which the second may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// Prefix and fields.
    pub head: Bytes,
    /// A large script: the end of the message. It shares the script's bytes.
    pub script: Bytes,
}

impl Framed {
    /// The length of the message with its prefix.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.head.len() + self.script.len()
    }

    /// Never: a message has a prefix.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }
}

impl From<Update> for Framed {
    fn from(update: Update) -> Self {
        let mut message = v1::Update::from(update);
        // Fields of a message may come in any order, so the script can stand behind those with higher numbers.
        let mut script = std::mem::take(&mut message.script);
        // The key and the length of the script take less than 16 bytes.
        let mut head = BytesMut::with_capacity(PREFIX + message.encoded_len() + 16 + script.len().min(SMALL));
        // Zeros: it is not compressed, and its length is put in once it is known.
        head.put_bytes(0, PREFIX);
        // The buffer grows as needed, which is all that can fail.
        let _ = message.encode(&mut head);
        if !script.is_empty() {
            encode_key(SCRIPT_FIELD, WireType::LengthDelimited, &mut head);
            encode_varint(script.len() as u64, &mut head);
        }
        if script.len() <= SMALL {
            head.put(std::mem::take(&mut script));
        }
        // Scripts are limited to far less than what the length's 32 bits can say (`MAX_MESSAGE_BYTES`).
        let length = u32::try_from(head.len() - PREFIX + script.len()).unwrap_or(u32::MAX);
        if let Some(prefix) = head.get_mut(1..PREFIX) {
            prefix.copy_from_slice(&length.to_be_bytes());
        }
        Self { head: head.freeze(), script }
    }
}

#[cfg(test)]
mod tests {
    use flock_shared::{Revision, Script, ScriptHash};

    use super::*;
    use crate::{Position, UpdateKind};

    fn revision(of: &str) -> Revision {
        Revision::of(ScriptHash::of(of.as_bytes()))
    }

    #[test]
    fn it_is_the_message_that_a_generated_encoder_makes() {
        let small = Script::new("add table inet t\n");
        let edge = Script::new(vec![b'x'; SMALL]);
        let large = Script::new(vec![b'x'; SMALL + 1]);
        let kinds = [
            UpdateKind::Current,
            UpdateKind::Full(small),
            UpdateKind::Delta { base: revision("old"), script: edge },
            UpdateKind::Full(large),
        ];
        for kind in kinds {
            let update = Update::new(revision("new"), kind).at(Position::new(b"Pod=7").unwrap());
            let framed = Framed::from(update.clone());
            let [0, length @ ..] = *framed.head.first_chunk::<PREFIX>().unwrap() else {
                panic!("compressed")
            };
            let message = [&framed.head[PREFIX..], &framed.script[..]].concat();
            assert_eq!(u32::from_be_bytes(length) as usize, message.len());
            assert_eq!(framed.len(), PREFIX + message.len());
            let decoded = v1::Update::decode(&message[..]).unwrap();
            assert_eq!(Update::try_from(decoded), Ok(update));
        }
    }

    #[test]
    fn a_large_script_is_shared() {
        let script = Script::new(vec![b'x'; SMALL + 1]);
        let framed = Framed::from(Update::new(revision("new"), UpdateKind::Full(script.clone())));
        assert_eq!(framed.script.as_ptr(), script.bytes().as_ptr());
    }
}
