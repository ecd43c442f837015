//! Compiles the protocol with a Rust compiler of protobuf, so that no system `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=flock");
    let files = ["node", "debug", "ask"].map(|file| format!("flock/netpol/v1/{file}.proto"));
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut configuration = tonic_prost_build::configure().bytes(".flock.netpol.v1");
    for message in answers(&descriptors) {
        let path = format!(".flock.netpol.v1.{message}");
        configuration = configuration.type_attribute(&path, "#[derive(serde::Serialize)]");
    }
    for (field, with) in SHOWN {
        let attribute = format!("#[serde(serialize_with = \"crate::json::{with}\")]");
        configuration = configuration.field_attribute(field, attribute);
    }
    // The API's own name.
    for message in ["Cite", "IsolatingPolicy", "PolicyRow"] {
        let field = format!("{message}.resource_version");
        configuration = configuration.field_attribute(field, "#[serde(rename = \"resourceVersion\")]");
    }
    configuration.compile_fds(descriptors)?;
    Ok(())
}

/// Fields of answers that JSON has in another form than the message: words for enumerations, RFC 3339 for times.
const SHOWN: [(&str, &str); 16] = [
    ("DirectionVerdict.verdict", "verdict"),
    ("Cite.direction", "some_direction"),
    ("Evidence.direction", "direction"),
    ("Evidence.since", "time"),
    ("Explanation.dropped_since", "time"),
    ("Explanation.last_dropped", "time"),
    ("PolicyRow.since", "time"),
    ("PreviewRow.change", "change"),
    ("Finding.severity", "severity"),
    ("Finding.since", "time"),
    ("DropRow.time", "time"),
    ("DropRow.first", "time"),
    ("DropRow.direction", "direction"),
    ("PassRow.time", "time"),
    ("PassRow.acknowledged_by", "time"),
    ("PassRow.took", "duration"),
];

/// The messages that answers of AskService are made of, which programs read as JSON too.
fn answers(descriptors: &prost_types::FileDescriptorSet) -> Vec<String> {
    let asked = descriptors.file.iter().filter(|file| file.name().ends_with("/ask.proto"));
    let messages = asked.flat_map(|file| &file.message_type).map(|message| message.name().to_owned());
    // Questions are not shown, and a receipt is a file of its own.
    messages
        .filter(|name| !name.ends_with("Request") && !name.ends_with("Receipt") && name != "Manifest")
        .collect()
}
