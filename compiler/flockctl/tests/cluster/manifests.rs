//! Questions to manifests: no cluster, no kubeconfig.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::screens::golden;
use crate::site::{Ended, bare, end};

const SHOP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: api}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: database, namespace: shop}
spec:
  selector: {matchLabels: {app: database}}
  template:
    metadata: {labels: {app: database}}
    spec: {containers: [{name: pg, image: pg, ports: [{name: pg, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec:
  selector: {app: database}
  ports: [{port: 15432, targetPort: pg}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: database, namespace: shop}
spec:
  podSelector: {matchLabels: {app: database}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: apii}}}]
      ports: [{port: 5432}]
";

const FIXED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: database, namespace: shop}
spec:
  podSelector: {matchLabels: {app: database}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: api}}}]
      ports: [{port: 5432}]
";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(TempDir::new().unwrap());
        std::fs::create_dir(folder.0.path().join("base")).unwrap();
        folder.write("base/shop.yaml", SHOP);
        folder.write("fixed.yaml", FIXED);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// flockctl in the folder, with a kubeconfig that leads nowhere.
    async fn run(&self, arguments: &str) -> Ended {
        let mut command: Command = bare(env!("CARGO_BIN_EXE_flockctl"), self.0.path());
        command.current_dir(self.0.path()).env("KUBECONFIG", "nowhere").args(arguments.split_whitespace());
        end(command).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_answer_without_a_cluster() {
    let folder = Folder::new();
    let denied = folder.run("explain shop/deploy/api shop/svc/db 15432 --manifests base").await;
    assert_eq!((denied.code, &*denied.stderr), (Some(1), ""), "{denied:?}");
    for part in ["DENIED", "TCP 5432", "shop/database ingress[0]", "peer no", "apii"] {
        assert!(denied.stdout.contains(part), "no {part} in {denied:?}");
    }
    let fixed = folder
        .run("can shop/deploy/api reach shop/sts/database:5432 --manifests fixed.yaml --manifests base")
        .await;
    assert!(
        fixed.code == Some(2) || fixed.stderr.contains("database"),
        "the same policy twice is said: {fixed:?}"
    );

    let who = folder.run("who-can reach shop/sts/database --manifests base").await;
    assert_eq!((who.code, &*who.stderr), (Some(0), ""), "{who:?}");
    let reached = folder.run("reach shop/deploy/api --manifests base -o json").await;
    let rows: Value = serde_json::from_str(&reached.stdout).unwrap();
    assert!(rows.is_array(), "{reached:?}");
}

/// Pods of two Services, one of them headless: `db-1` does not have the port, `db-2` has ended.
const ENDPOINTS: &str = "
kind: List
apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata: {namespace: shop, name: db-0, labels: {app: db}}
  spec: {containers: [{name: pg, ports: [{name: pg, containerPort: 5432}]}]}
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: db-1, labels: {app: db}}, spec: {containers: []}}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: shop, name: db-2, labels: {app: db}}
  spec: {containers: [{name: pg, ports: [{name: pg, containerPort: 5432}]}]}
  status: {phase: Succeeded}
- apiVersion: v1
  kind: Service
  metadata: {namespace: shop, name: db}
  spec:
    selector: {app: db}
    ports:
    - {name: the-database-of-the-shop, port: 15432, targetPort: pg}
    - {name: metrics, port: 80, targetPort: 9187}
    - {name: dns, port: 80, protocol: UDP, targetPort: 5353}
- apiVersion: v1
  kind: Service
  metadata: {namespace: shop, name: headless}
  spec: {clusterIP: None, selector: {app: db}, ports: [{name: metrics, port: 80, targetPort: 9187}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_services_are_asked_about_by_number_and_by_name() {
    let folder = Folder::new();
    folder.write("endpoints.yaml", ENDPOINTS);
    let named = "the-database-of-the-shop";
    for (service, port, told, endpoints) in [
        ("db", "15432", "TCP 5432", "1 of 2"),
        ("db", named, "TCP 5432", "1 of 2"),
        ("db", "80", "TCP 9187", "2 of 2 endpoints"),
        ("db", "metrics", "TCP 9187", "2 of 2 endpoints"),
        ("db", "80/udp", "UDP 5353", "2 of 2 endpoints"),
        ("db", "dns", "UDP 5353", "2 of 2 endpoints"),
        ("db", "dns/UDP", "UDP 5353", "2 of 2 endpoints"),
        // Clients that look a headless Service up by its address know the port of its object, by its name that of its pods.
        ("headless", "80", "TCP 80", "2 of 2 endpoints"),
        ("headless", "metrics", "TCP 9187", "2 of 2 endpoints"),
    ] {
        let asked = format!("explain internet shop/svc/{service} {port} --manifests endpoints.yaml");
        let ended = folder.run(&asked).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{asked}: {ended:?}");
        for part in [told, endpoints] {
            assert!(ended.stdout.contains(part), "{asked}: no {part} in {ended:?}");
        }
        assert!(!ended.stdout.contains("db-2"), "{asked}: {ended:?}");
        let asked = format!("who-can reach shop/svc/{service}:{port} --manifests endpoints.yaml");
        let ended = folder.run(&asked).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{asked}: {ended:?}");
        assert!(ended.stdout.contains(told), "{asked}: no {told} in {ended:?}");
    }
    let wrong = folder.run("can internet reach shop/svc/db:dns/tcp --manifests endpoints.yaml").await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let known = format!("it has 15432/TCP ({named}), 80/TCP (metrics), 80/UDP (dns)");
    assert!(wrong.stderr.contains(&known), "{wrong:?}");
}

/// `x-0` and `x-1` are open, `x-2` and `x-3` closed; `db` lets in one port over IPv4 and another over IPv6.
fn halves() -> String {
    let pod = |name: &str, labels: &str, owner: &str, address: u8| {
        format!(
            "- apiVersion: v1\n  kind: Pod\n  metadata: {{namespace: shop, name: {name}, labels: {{{labels}}}{owner}}}\n  \
             spec: {{containers: []}}\n  status: {{phase: Running, podIPs: [{{ip: 10.0.0.{address}}}, {{ip: 'fd00::{address}'}}]}}\n"
        )
    };
    let owner =
        ", ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: x, uid: u, controller: true}]";
    let mut text = "kind: List\napiVersion: v1\nitems:\n".to_owned();
    for number in 0..4 {
        let labels = if number < 2 { "app: x" } else { "app: x, track: canary" };
        text.push_str(&pod(&format!("x-{number}"), labels, owner, number + 1));
    }
    text.push_str(&pod("db", "app: db", "", 9));
    text.push_str(
        "- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: shop, name: canary}
  spec: {podSelector: {matchLabels: {track: canary}}, policyTypes: [Ingress]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: shop, name: db}
  spec:
    podSelector: {matchLabels: {app: db}}
    ingress:
    - {from: [{ipBlock: {cidr: 10.0.0.0/24}}], ports: [{port: 80}]}
    - {from: [{ipBlock: {cidr: 'fd00::/64'}}], ports: [{port: 90}]}
",
    );
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_some_pods_or_one_family_says_so() {
    let folder = Folder::new();
    folder.write("halves.yaml", &halves());
    let half = "shop/sts/x (2 of 4 pods, such as x-0)";
    for asked in ["shop/sts/x", "-l app=x -n shop"] {
        let ended = folder.run(&format!("who-can reach {asked} --manifests halves.yaml")).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
        let [head, rows @ ..] = &*ended.stdout.lines().collect::<Vec<_>>() else { panic!("{ended:?}") };
        assert!(head.starts_with("FROM ") && head.contains(" TO "), "{ended:?}");
        assert!(!rows.is_empty() && rows.iter().all(|row| row.contains(half)), "{ended:?}");
    }
    let ended = folder.run("explain shop/db shop/sts/x 80 --manifests halves.yaml").await;
    assert!(ended.stdout.contains(&format!("  →  {half}  TCP 80\n")), "{ended:?}");
    let ended = folder.run("who-can reach shop/db --manifests halves.yaml").await;
    for row in ["TCP 80  over IPv4: shop/db ingress[0]", "TCP 90  over IPv6: shop/db ingress[1]"] {
        assert!(ended.stdout.contains(row), "no {row} in {ended:?}");
    }
    let ended = folder.run("matrix -n shop --manifests halves.yaml").await;
    assert!(ended.stdout.contains("TCP 80, 90"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_wrongly_is_told_with_one_empty_line_before_the_usage() {
    let folder = Folder::new();
    for arguments in [
        "explain shop/deploy/api shop/sts/database 0 --manifests base",
        "explain shop/foo/api shop/sts/database 80 --manifests base",
        "open -o md --manifests base",
        "open -n shop -A --manifests base",
        "open --context here --manifests base",
    ] {
        let ended = folder.run(arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments}: {ended:?}");
        assert!(
            ended.stderr.contains("\n\nUsage: ") && !ended.stderr.contains("\n\n\n"),
            "{arguments}: {ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_manifests_tells_what_opens_and_fails_as_asked() {
    let folder = Folder::new();
    let table = folder.run("preview -f fixed.yaml --manifests base").await;
    assert_eq!((table.code, &*table.stderr), (Some(1), ""), "{table:?}");
    for part in ["opened, 0 closed", "FROM", "shop/deploy/api", "shop/sts/database", "TCP 5432"] {
        assert!(table.stdout.contains(part), "no {part} in {table:?}");
    }
    assert_eq!(folder.run("preview -f fixed.yaml --manifests base --fail-on closed").await.code, Some(0));
    assert_eq!(folder.run("preview -f base --manifests base").await.code, Some(0));
    let closed = folder.run("preview --delete networkpolicy/shop/database --manifests base").await;
    assert_eq!(closed.code, Some(1), "{closed:?}");
    let sarif: Value =
        serde_json::from_str(&folder.run("preview -f fixed.yaml --manifests base -o sarif").await.stdout)
            .unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(folder.run("preview -f fixed.yaml --manifests base -o md").await.stdout.contains("opened"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_of_manifests_finds_a_typo() {
    let folder = Folder::new();
    let table = folder.run("lint --manifests base").await;
    assert_eq!((table.code, &*table.stderr), (Some(1), ""), "{table:?}");
    assert!(table.stdout.contains("FLK002") && table.stdout.contains("shop/database"), "{table:?}");
    let sarif: Value =
        serde_json::from_str(&folder.run("lint --manifests base -o sarif").await.stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(folder.run("lint --manifests base -o md").await.stdout.contains("FLK002"));
    assert_eq!(folder.run("lint --manifests base --min-severity error").await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_manifests_lack_is_said() {
    let folder = Folder::new();
    folder.write("broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: [\n");
    folder.write("other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n");
    for (arguments, told) in [
        ("explain shop/deploy/api nosuch/web 80 --manifests base", "no namespace \"nosuch\""),
        ("explain shop/deploy/web shop/sts/database 80 --manifests base", "shop/deploy/web"),
        ("explain shop/deploy/api shop/svc/web 80 --manifests base", "no Service shop/web"),
        ("explain shop/deploy/api shop/svc/db 80 --manifests base", "it has 15432/TCP"),
        ("reach shop/deploy/api --manifests nosuch", "nosuch: No such file"),
        (
            "reach shop/deploy/api --manifests broken.yaml",
            "nothing in the manifests can be used: broken.yaml",
        ),
        ("reach shop/deploy/api --manifests other.yaml", "nothing in the manifests can be used"),
        ("lint -n nosuch --manifests base", "no namespace \"nosuch\""),
        ("preview -f broken.yaml --manifests base", "broken.yaml"),
        ("preview -f other.yaml --manifests base", "no NetworkPolicy and no Namespace"),
        ("preview --delete netpol/shop/nosuch --manifests base", "no NetworkPolicy shop/nosuch"),
    ] {
        let ended = folder.run(arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments}: {ended:?}");
        assert!(ended.stderr.contains(told), "{arguments}: no {told} in {ended:?}");
    }
    let partly = folder
        .run("can shop/deploy/api reach shop/sts/database:5432 --manifests base --manifests broken.yaml")
        .await;
    assert!(partly.code == Some(1) && partly.stderr.contains("broken.yaml"), "{partly:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_mistakes_in_thirty_namespaces_are_found_and_explained() {
    let folder = Folder::new();
    folder.write("world.yaml", include_str!("mistakes/world.yaml"));
    folder.write("mended.yaml", include_str!("mistakes/mended.yaml"));
    let questions = [
        "lint --manifests world.yaml",
        "explain billing/deploy/api kube-system/deploy/coredns 53/udp --manifests world.yaml",
        "explain checkout/deploy/api payments/deploy/api 8080 --manifests world.yaml",
        "explain inventory/deploy/api inventory/deploy/db 5432 --manifests world.yaml",
        "explain orders/deploy/api orders/deploy/db 5432 --manifests world.yaml",
        "explain shipping/deploy/api 198.51.100.200 443 --manifests world.yaml",
        "preview -f mended.yaml --manifests world.yaml",
    ];
    let mut shown = Vec::new();
    for question in questions {
        shown.push((question, folder.run(question).await));
    }
    let shown: Vec<(&str, &Ended)> = shown.iter().map(|(question, ended)| (*question, ended)).collect();
    golden("mistakes", &shown);
}
