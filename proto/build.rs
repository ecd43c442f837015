//! Compiles the protocol with a Rust compiler of protobuf, so that no system `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=flock");
    let descriptors = protox::compile(["flock/netpol/v1/node.proto", "flock/netpol/v1/debug.proto"], ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".flock.netpol.v1").compile_fds(descriptors)?;
    Ok(())
}
