//! Policies on real packets: manifests as text, through the compiler's own front door, into the real nft of two
//! node namespaces; then every flow is tried. What is expected is said by hand, never by our compiler.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod address_blocks;
mod anchors;
mod both_ends;
mod bridge;
mod bridge_ports;
mod claims;
mod cluster;
mod connections;
mod contested;
mod directions;
mod drops;
mod flow;
mod full_matrix;
mod icmp;
mod lifecycle;
mod link;
mod members;
mod mid_stream;
mod nodes;
mod objects;
mod peers;
mod ports;
mod reload;
mod rows;
mod segments;
mod selectors;
mod services;
mod sockets;
mod trials;
mod tunnel_devices;
mod tunnels;
mod two_addresses;
mod undone;
mod unready;
