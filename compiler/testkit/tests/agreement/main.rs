//! What the server of this crate and a real one have in common: the same questions to both. FLOCK_KUBE_APISERVER names the real
//! one: the program kube-apiserver, which is started with a store of its own (FLOCK_ETCD, else `etcd`) and thrown away; or the URL
//! of one that may be, whose certificate is not asked for, with FLOCK_KUBE_TOKEN of somebody who may do everything. Without
//! it that half is skipped, which is said. A server and a store are enough: no controller is needed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod lists;
mod node_pods;
mod objects;
mod reviews;
mod site;
mod started;
mod watches;

/// Two tests of each function: of the server of this crate, and of a real one.
macro_rules! agreed {
    ($($name:ident),* $(,)?) => {
        mod here {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&crate::site::Site::here().await).await;
            })*
        }
        mod real {
            $(#[tokio::test]
            async fn $name() {
                if let Some(site) = crate::site::Site::real(concat!(module_path!(), "-", stringify!($name))).await {
                    super::$name(&site).await;
                    site.leave().await;
                }
            })*
        }
    };
}
use agreed;
