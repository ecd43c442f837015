#![doc = include_str!("../README.md")]

mod account;
pub mod agent;
mod api;
pub mod compiler;
mod faults;
mod grants;
mod identity;
mod kind;
mod kubelet;
mod list;
mod manifest;
mod message;
mod page;
mod patch;
/// The factor of the lab, which depends on no Kubernetes client.
#[path = "../../../deploy/lab/src/patience.rs"]
#[allow(unreachable_pub, reason = "it is public in the lab")]
mod patience;
mod port_forward;
mod proxy;
mod request;
mod review;
mod schema;
mod secret;
mod selector;
mod server;
mod stamp;
mod status;
mod store;
mod token_request;
mod wait;
mod watch;
mod wire;

pub use account::AccountToken;
pub use faults::{Cut, Delivery, Expiry, Failure, Faults};
pub use grants::{Grant, Grants, Subject};
pub use identity::{API_AUDIENCE, BoundPod, Identities, Identity};
pub use kind::{
    CONFIG_MAP, EVENT, Kind, NAMESPACE, NETWORK_POLICY, NODE, NODE_PODS, POD, PORT_FORWARD, SECRET,
    SELF_SUBJECT_ACCESS_REVIEW, SERVICE, SERVICE_ACCOUNT, SUBJECT_ACCESS_REVIEW, TOKEN_REQUEST, TOKEN_REVIEW,
};
pub use kubelet::Kubelet;
pub use manifest::{manifest, rights, rights_of};
pub use port_forward::Forwards;
pub use proxy::Proxy;
pub use request::Verb;
pub use server::{ApiServer, Settings, StartError};
pub use status::Status;
pub use store::{Backup, Store};
pub use wait::{WaitedInVain, wait_until, within_real_time};
