//! Who asks, and for what.

use std::collections::BTreeSet;

use flock_ask::{AskError, Sight};
use flock_proto::v1::Finding;
use flock_shared::NamespaceName;

use crate::cluster::Manifest;

/// Two tenants: shop's policies name pods, ports and namespaces of bank, which has mistakes of its own.
const TENANTS: &str = r#"
kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: bank, labels: {team: secret-team}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: bank, name: secret-pod, labels: {app: secret-app}}
  spec: {containers: [{ports: [{name: secret-port, containerPort: 80}]}]}
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: api, labels: {app: api}}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: bank, name: secret-policy}
  spec: {podSelector: {matchLabels: {app: secret-app}}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: bank, name: secret-typo}
  spec: {podSelector: {matchLabels: {app: secret-appp}}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: shop, name: probe}
  spec:
    podSelector: {matchLabels: {app: api}}
    policyTypes: [Ingress, Egress]
    ingress:
    - from:
      - namespaceSelector: {matchLabels: {team: secret-tea}}
      - namespaceSelector: {}
        podSelector: {matchLabels: {app: secret-ap}}
      - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ban}}
      - podSelector: {matchLabels: {app: apii}}
    egress:
    - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bank}}}]
      ports: [{port: 80}]
    - to: [{namespaceSelector: {}}]
      ports: [{port: secret-por}]
    - ports: [{port: secret-por}]
"#;

fn only(namespace: &str) -> Sight {
    Sight::Only(BTreeSet::from([NamespaceName::new(namespace).unwrap()]))
}

fn keys(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|it| format!("{} {} {}", it.code, it.object, it.field)).collect()
}

#[test]
fn a_tenant_is_told_of_its_own_mistakes_and_nothing_of_others() {
    let manifest = Manifest::read("f.yaml", TENANTS);
    let all = manifest.lint("", &Sight::Everything).unwrap();
    assert!(all.iter().any(|finding| finding.suggestion.contains("secret-team")), "{all:#?}");
    assert!(all.iter().any(|finding| finding.suggestion == "secret-port"), "{all:#?}");
    let own = manifest.lint("", &only("shop")).unwrap();
    for finding in &own {
        assert_eq!(finding.namespace, "shop");
        let told = format!("{finding:?}");
        for hidden in ["secret-team", "secret-app", "secret-port", "secret-pod", "secret-policy"] {
            assert!(!told.contains(hidden), "{told}");
        }
    }
    // What it may know: its own labels, that there is no namespace of a name, that its flow does not pass.
    assert_eq!(
        keys(&own),
        [
            "FLK002 NetworkPolicy shop/probe spec.ingress[0].from[2].namespaceSelector",
            "FLK002 NetworkPolicy shop/probe spec.ingress[0].from[3].podSelector",
            "FLK004 NetworkPolicy shop/probe spec.egress",
            "FLK005 NetworkPolicy shop/probe spec.egress[0].to[0]",
            "FLK006 NetworkPolicy shop/probe spec.egress[1]",
            "FLK007 NetworkPolicy shop/probe spec.ingress[0].from[3]",
        ]
    );
    let one_sided = own.iter().find(|finding| finding.code == "FLK005").unwrap();
    assert!(one_sided.message.contains("pods of namespace bank"), "{}", one_sided.message);
}

#[test]
fn a_namespace_is_linted_alone_if_it_is_there_and_may_be_seen() {
    let manifest = Manifest::read("f.yaml", TENANTS);
    let bank = manifest.lint("bank", &Sight::Everything).unwrap();
    assert!(!bank.is_empty() && bank.iter().all(|finding| finding.namespace == "bank"), "{bank:#?}");
    let whole = manifest.lint("", &Sight::Everything).unwrap();
    let part: Vec<Finding> = whole.into_iter().filter(|finding| finding.namespace == "bank").collect();
    assert_eq!(bank, part);
    for (namespace, sight, expected) in [
        ("nowhere", Sight::Everything, "NotFound"),
        ("bank", only("shop"), "NotAllowed"),
        ("No Name", Sight::Everything, "Bad"),
    ] {
        let error = manifest.lint(namespace, &sight).unwrap_err();
        let kind = match error {
            AskError::NotFound(_) => "NotFound",
            AskError::NotAllowed(_) => "NotAllowed",
            AskError::Bad(_) => "Bad",
            AskError::TooLarge(_) => "TooLarge",
        };
        assert_eq!(kind, expected);
    }
}

#[test]
fn manifests_of_one_namespace_need_not_have_what_is_in_others() {
    let text = r#"
kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: api, labels: {app: api}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: monitoring}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: shop, name: api}
  spec:
    podSelector: {matchLabels: {app: api}}
    ingress:
    - from:
      - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}
      - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitorin}}
      - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
"#;
    let manifest = Manifest::read("f.yaml", text);
    let assumed = flock_ask::Cluster { assumed: true, ..manifest.cluster() };
    let told = |cluster| {
        let all = flock_ask::lint(&cluster, &Default::default(), &Sight::Everything).unwrap();
        let fields = all.into_iter().filter(|finding| finding.code == "FLK002").map(|finding| finding.field);
        fields.map(|field| field.chars().filter(char::is_ascii_digit).collect::<String>()).collect::<Vec<_>>()
    };
    assert_eq!(told(manifest.cluster()), ["00", "01", "02"]);
    assert_eq!(told(assumed), ["01"], "only what looks like a slip");
}

#[test]
fn an_annotation_of_the_policy_or_of_its_namespace_silences_what_it_names() {
    let text = r#"
kind: List
apiVersion: v1
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: quiet, annotations: {flock.netpol/ignore: "FLK010, FLK020"}}
- {apiVersion: v1, kind: Pod, metadata: {namespace: quiet, name: web, labels: {app: web}}}
- {apiVersion: v1, kind: Pod, metadata: {namespace: quiet, name: open}}
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web}}}
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: open}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: quiet, name: loud}
  spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: shop, name: loud}
  spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: shop, name: quiet, annotations: {flock.netpol/ignore: FLK010}}
  spec: {podSelector: {matchLabels: {app: webb}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}
"#;
    let found = Manifest::read("f.yaml", text).lint("", &Sight::Everything).unwrap();
    assert_eq!(
        keys(&found),
        [
            "FLK001 NetworkPolicy shop/quiet spec.podSelector",
            "FLK010 NetworkPolicy shop/loud spec.ingress[0].from[0].ipBlock.cidr",
            "FLK020 Pod shop/open ",
        ]
    );
}
