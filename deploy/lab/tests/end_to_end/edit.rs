//! Manifests edited on disk: every kernel follows, and so do packets.

use flock_lab::{Probe, Protocol, Verdict};

use crate::manifests::{ALLOW_WEB, DENY};
use crate::site::Site;

#[test]
fn an_edit_reaches_every_kernel_and_real_connections() {
    let Some(site) = Site::new("edit") else { return };
    let web = site.ground.pod("n1", "web", "10.1.0.2");
    let api = site.ground.pod("n1", "api", "10.1.0.3");
    let db = site.ground.pod("n2", "db", "10.1.0.4");
    let _agents = site.agents();
    let verdicts = || {
        let probe = |from, to: &flock_lab::Pod| Probe::new(from, Protocol::Tcp, to.addresses()[0], 80);
        // Across nodes both ways, and on one node both ways.
        let probes = [probe(&web, &db), probe(&db, &web), probe(&web, &api), probe(&api, &web)];
        flock_lab::probe_all(&probes).unwrap()
    };
    let [reached, dropped] = [Verdict::Reached, Verdict::Dropped];
    site.settle();
    assert_eq!(verdicts(), [reached; 4], "without a policy");

    site.manifests.put("deny.yaml", DENY);
    site.settle();
    assert_eq!(verdicts(), [dropped; 4], "nobody is allowed anything");

    site.manifests.put("allow.yaml", ALLOW_WEB);
    site.settle();
    assert_eq!(verdicts(), [reached, dropped, reached, dropped], "web is allowed");

    site.manifests.put("allow.yaml", &ALLOW_WEB.replace("app: web", "app: db"));
    site.settle();
    assert_eq!(verdicts(), [dropped; 4], "db is allowed, which may not answer itself to web");

    for file in ["deny.yaml", "allow.yaml"] {
        site.manifests.remove(file);
    }
    site.settle();
    assert_eq!(verdicts(), [reached; 4], "the policies are gone");
}
