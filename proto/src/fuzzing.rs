//! Entry point of the fuzz targets in `node-agent/fuzz`, here so that an ordinary test runs it on its corpus.

use prost::Message as _;

use crate::{AgentMessage, Update, v1};

/// Whatever bytes come, what is taken for a message survives being sent; the update that they are, if they are one.
///
/// # Panics
/// If it does not, which is what fuzzing looks for.
#[must_use]
pub fn wire(bytes: &[u8]) -> Option<v1::Update> {
    if let Ok(message) = v1::AgentMessage::decode(bytes)
        && let Ok(typed) = AgentMessage::try_from(message)
    {
        let again = v1::AgentMessage::from(typed.clone()).encode_to_vec();
        let again = v1::AgentMessage::decode(&*again).map(AgentMessage::try_from);
        assert_eq!(again, Ok(Ok(typed)));
    }
    let update = v1::Update::decode(bytes).ok()?;
    if let Ok(typed) = Update::try_from(update.clone()) {
        assert_eq!(Update::try_from(v1::Update::from(typed.clone())), Ok(typed));
    }
    Some(update)
}
