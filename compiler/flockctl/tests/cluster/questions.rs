//! Questions about policy: what is asked of the compiler, Services of the cluster, exit statuses, and what is no question.

use flock_proto::v1;
use flock_testkit::compiler::{patiently, quiet, served};
use flock_testkit::{Kind, SERVICE};
use serde_json::{Value, json};
use tonic::Status;

use crate::site::{Site, end};

pub(crate) const ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    namespaced: true,
};

fn allowed(allowed: bool) -> v1::ExplainResponse {
    v1::ExplainResponse {
        explanations: vec![v1::Explanation { allowed, ..v1::Explanation::default() }],
        notes: Vec::new(),
    }
}

fn asked(site: &Site) -> Vec<String> {
    std::mem::take(&mut *site.compiler.ask.requests.lock().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_is_the_answer() {
    let site = Site::start().await;
    let ask = &site.compiler.ask;
    let code = async |arguments: &str| site.run(arguments).await.code.unwrap();
    for (is_allowed, expected) in [(true, 0), (false, 1)] {
        *ask.explanation.lock().unwrap() = allowed(is_allowed);
        assert_eq!(code("explain shop/a shop/b 80").await, expected);
        assert_eq!(code("can shop/a reach shop/b:80 -o json").await, expected);
    }
    let mut both = allowed(true);
    both.explanations.extend(allowed(false).explanations);
    *ask.explanation.lock().unwrap() = both;
    let partly = site.run("can shop/deploy/a reach shop/b:80").await;
    assert_eq!((partly.code, partly.stdout.split(':').next()), (Some(1), Some("no")), "{partly:?}");

    let row = |change: v1::Change| v1::PreviewRow { change: change.into(), ..v1::PreviewRow::default() };
    for (rows, fail_on, expected) in [
        (vec![], "any", 0),
        (vec![row(v1::Change::Opened)], "any", 1),
        (vec![row(v1::Change::Opened)], "opened", 1),
        (vec![row(v1::Change::Opened)], "closed", 0),
        (vec![row(v1::Change::Closed)], "closed", 1),
    ] {
        *ask.preview.lock().unwrap() = rows;
        let arguments = format!("preview --delete networkpolicy/shop/web --fail-on {fail_on}");
        assert_eq!(code(&arguments).await, expected, "{arguments}");
    }

    let finding =
        |severity: v1::Severity| v1::Finding { severity: severity.into(), ..v1::Finding::default() };
    *ask.findings.lock().unwrap() = vec![finding(v1::Severity::Info)];
    assert_eq!(code("lint").await, 0);
    assert_eq!(code("lint --min-severity info").await, 1);
    *ask.findings.lock().unwrap() = vec![finding(v1::Severity::Warning)];
    assert_eq!(code("lint").await, 1);
    assert_eq!(code("lint --min-severity error").await, 0);
    for arguments in
        ["open", "matrix", "policies", "drops", "history", "who-can reach shop/a", "reach shop/a"]
    {
        assert_eq!(code(arguments).await, 0, "{arguments}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_what_is_not_there_are_questions_that_cannot_be_asked() {
    let site = Site::start().await;
    for status in [
        Status::not_found("no namespace \"nosuch\""),
        Status::permission_denied("alice may not"),
        Status::invalid_argument("no such port"),
    ] {
        *site.compiler.ask.refusal.lock().unwrap() = Some(status.clone());
        for arguments in [
            "explain nosuch/a shop/b 80",
            "open -n nosuch",
            "policies -n nosuch",
            "matrix -n nosuch",
            "lint -n nosuch",
            "drops -n nosuch",
        ] {
            assert_eq!(site.refuses(arguments).await, status.message(), "{arguments}");
        }
    }
    *site.compiler.ask.refusal.lock().unwrap() = Some(Status::unavailable("not ready"));
    assert_eq!(site.complains("explain shop/a shop/b 80").await, "not ready");
    *site.compiler.ask.refusal.lock().unwrap() = Some(Status::unimplemented(""));
    assert!(site.refuses("open").await.contains("older than this program"));
    *site.compiler.ask.refusal.lock().unwrap() = None;
    assert_eq!(site.refuses("policies -n shop web").await, "no NetworkPolicy web in namespace shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_asked_about_as_they_were_typed() {
    let site = Site::start().await;
    *site.compiler.ask.explanation.lock().unwrap() = allowed(true);
    let told = async |arguments: &str| {
        let ended = site.run(arguments).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{arguments}: {ended:?}");
        asked(&site).pop().unwrap()
    };
    for (arguments, parts) in [
        (
            "explain shop/web 10.0.0.1 53/udp",
            &[
                "PodName { namespace: \"shop\", name: \"web\" }",
                "Address(\"10.0.0.1\")",
                "\"UDP\", number: 53",
            ][..],
        ),
        (
            "can internet reach [fd00::1]:443",
            &["Internet(true)", "Address(\"fd00::1\")", "\"TCP\", number: 443"],
        ),
        (
            "explain -l app=web -n shop node/n1 80",
            &["from: Some(End { end: Some(Selection", "selector: \"app=web\"", "Node(\"n1\")"],
        ),
        (
            "explain shop/web 80 -l app=db -n shop",
            &["to: Some(End { end: Some(Selection", "selector: \"app=db\""],
        ),
        ("can -l app=web -n shop reach shop/db:80", &["from: Some(End { end: Some(Selection"]),
        (
            "can shop/web reach :80 -l app=db",
            &["to: Some(End { end: Some(Selection(PodSelection { namespace: \"\""],
        ),
        ("who-can reach shop/sts/db:5432", &["kind: \"sts\"", "direction: Ingress", "number: 5432"]),
        ("who-can reach -l app=db -n shop", &["selector: \"app=db\"", "port: None"]),
        (
            "reach deploy/web -n shop",
            &["namespace: \"shop\", kind: \"deploy\", name: \"web\"", "direction: Egress"],
        ),
        ("matrix -n shop --ports 80,53/UDP", &["namespace: \"shop\"", "number: 80", "\"UDP\", number: 53"]),
        ("open -A", &["ListOpenRequest { namespace: \"\" }"]),
        ("lint -n shop --min-severity error", &["namespace: \"shop\""]),
        (
            "drops --since 1h --from shop/web --to internet -n shop",
            &["seconds: 3600", "from: Some(End", "to: Some(End { end: Some(Internet", "follow: false"],
        ),
        ("history --since 90s", &["seconds: 90"]),
        ("preview --delete netpol/shop/web", &["PolicyName { namespace: \"shop\", name: \"web\" }"]),
    ] {
        let request = told(arguments).await;
        for part in parts {
            assert!(request.contains(part), "{arguments}: no {part} in {request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_is_told_what_is_one() {
    let site = Site::start().await;
    for (arguments, expected) in [
        ("explain shop/a shop/b", "PORT[/PROTO]"),
        ("explain web shop/b 80", "NS/POD"),
        ("explain shop/a shop/b 0", "1 to 65535"),
        ("explain shop/a shop/b http", "NS/svc/NAME"),
        ("explain shop/a shop/b 80 -l app=x", "leave one out"),
        ("can shop/a shop/b:80", "TO:PORT[/PROTO]"),
        ("can shop/a reach shop/b", "has no port"),
        ("can shop/a reaches shop/b:80", "in place of `reach`"),
        ("can shop/a reach fd00::1::80", "in brackets"),
        ("who-can shop/b", "reach"),
        ("who-can reach shop/b -l app=x", "-l SELECTOR takes the place of TO"),
        ("reach", "FROM"),
        ("matrix --ports 80,x", "PORT/PROTO"),
        ("matrix -o sarif", "matrix prints table, wide, json, yaml, md, csv, dot, svg"),
        ("open -o svg", "open prints table, wide, json, yaml"),
        ("nodes -o md", "nodes prints table, wide, json, yaml"),
        ("check -o yaml", "check prints table, short, json"),
        ("wait", "networkpolicy/NAME|nodes"),
        ("wait networkpolicy/web", "-n NAMESPACE"),
        ("wait pod/web -n shop", "networkpolicy/NAME"),
        ("wait nodes --for gone", "networkpolicy/NAME"),
        ("wait networkpolicy/web -n shop --all", "--all is for nodes"),
        ("wait nodes --timeout 5", "such as 90s"),
        ("preview", "--filename <FILE|DIR>"),
        ("preview --delete shop/web", "networkpolicy/NAMESPACE/NAME"),
        ("preview -f nosuch.yaml", "nosuch.yaml: No such file"),
        ("lint --min-severity low", "info, warning, error"),
        ("drops --since 15", "such as 90s"),
        ("drops -f --top", "cannot be used with"),
        ("lint --manifests x --context here", "in place of a cluster"),
        ("policies --manifests x", "unexpected argument"),
    ] {
        let ended = site.run(arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments}: no {expected} in {ended:?}");
    }
    assert_eq!(asked(&site), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_its_endpoints_that_are_ready_as_the_user_may_see_them() {
    let site = Site::start().await;
    *site.compiler.ask.explanation.lock().unwrap() = allowed(true);
    let service = json!({ "metadata": { "namespace": "shop", "name": "db" }, "spec": { "ports": [{ "name": "pg", "port": 5432 }] } });
    site.api.store().put(SERVICE, service).unwrap();
    let endpoint = |pod: &str, ready: bool| json!({ "addresses": ["10.0.0.1"], "conditions": { "ready": ready }, "targetRef": { "kind": "Pod", "namespace": "shop", "name": pod } });
    let slice = json!({
        "metadata": { "namespace": "shop", "name": "db-x", "labels": { "kubernetes.io/service-name": "db" } },
        "addressType": "IPv4",
        "ports": [{ "name": "pg", "port": 15432 }],
        "endpoints": [endpoint("db-0", true), endpoint("db-1", true), endpoint("db-2", false)],
    });
    site.api.store().put(ENDPOINT_SLICE, slice).unwrap();
    for port in ["5432", "pg"] {
        site.prints(&format!("can shop/web reach shop/svc/db:{port}")).await;
        let request = asked(&site).pop().unwrap();
        for part in ["total: 3", "name: \"db-1\"", "target_port: 15432", "number: 5432"] {
            assert!(request.contains(part), "no {part} in {request}");
        }
        assert!(!request.contains("db-2"), "{request}");
    }
    assert!(site.refuses("can shop/web reach shop/svc/db:80").await.ends_with("it has 5432/TCP (pg)"));
    assert!(
        site.refuses("can shop/web reach shop/svc/nosuch:80").await.starts_with("no Service shop/nosuch")
    );

    let mut command = site.flockctl("can shop/web reach shop/svc/db:5432");
    command.env_remove("KUBECONFIG").args(["--compiler", "http://127.0.0.1:1"]);
    let ended = end(command).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_by_url_needs_a_kubeconfig() {
    let site = Site::start().await;
    let compiler = flock_testkit::compiler::FakeCompiler::start().await;
    let mut command = site.flockctl("can shop/web reach shop/svc/db:5432");
    command.env_remove("KUBECONFIG").args(["--compiler", &compiler.url()]);
    let ended = end(command).await;
    assert!(ended.code == Some(2) && ended.stderr.contains("there is no kubeconfig"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_it_is_so_or_names_what_is_missing() {
    let site = Site::start().await;
    let policy = v1::PolicyRow {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        nodes: 2,
        enforced: Some(1),
        missing: vec!["n2".to_owned()],
        understood: true,
        ..v1::PolicyRow::default()
    };
    let wait = "wait networkpolicy/web -n shop";
    *site.compiler.ask.policies.lock().unwrap() = vec![policy.clone()];
    let late = site.run(&format!("{wait} --timeout 1s")).await;
    assert_eq!((late.code, &*late.stdout), (Some(1), ""), "{late:?}");
    assert!(
        late.stderr.ends_with("timed out: shop/web is in force on 1 of 2 nodes, not on n2\n"),
        "{late:?}"
    );
    let waiting = site.run(wait);
    let made_so = async {
        *site.compiler.ask.policies.lock().unwrap() =
            vec![v1::PolicyRow { enforced: Some(2), missing: Vec::new(), ..policy.clone() }];
    };
    let (ended, ()) = patiently(async { tokio::join!(waiting, made_so) }).await;
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(0), "shop/web is in force on 2 of 2 nodes\n"),
        "{ended:?}"
    );

    let gone = site.run(&format!("{wait} --for gone --timeout 1s")).await;
    assert!(gone.code == Some(1) && gone.stderr.contains("shop/web is still there"), "{gone:?}");
    site.compiler.ask.policies.lock().unwrap().clear();
    let gone = site.run(&format!("{wait} --for gone")).await;
    assert_eq!(
        (gone.code, &*gone.stdout),
        (Some(0), "shop/web is gone, and no node enforces it\n"),
        "{gone:?}"
    );
    // Who may not ask does not hear that it is gone.
    let refusal = "you may see no explanations of namespace shop";
    *site.compiler.ask.refusal.lock().unwrap() = Some(Status::permission_denied(refusal));
    assert_eq!(site.refuses(&format!("{wait} --for gone --timeout 4s")).await, refusal);
    *site.compiler.ask.refusal.lock().unwrap() = None;
    let unknown: Value =
        serde_json::from_str(&site.run(&format!("{wait} --timeout 1s -o json")).await.stdout).unwrap();
    assert_eq!(unknown["done"], false);

    assert_eq!(site.prints("wait nodes").await, "1 of 1 nodes enforce the desired revision\n");
    site.compiler.debug.nodes.send_replace(vec![served("n1"), quiet("n2")]);
    let all = site.run("wait nodes --all --timeout 1s").await;
    assert!(all.code == Some(1) && all.stderr.contains("n2"), "{all:?}");
    *site.compiler.ask.refusal.lock().unwrap() = Some(Status::not_found("no namespace \"nosuch\""));
    assert_eq!(
        site.refuses("wait networkpolicy/web -n nosuch --timeout 5s").await,
        "no namespace \"nosuch\""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_rows_as_an_array() {
    let site = Site::start().await;
    *site.compiler.ask.policies.lock().unwrap() =
        vec![v1::PolicyRow { name: "web".to_owned(), ..v1::PolicyRow::default() }];
    let json: Value = serde_json::from_str(&site.prints("policies -o json").await).unwrap();
    assert_eq!(
        (&json[0]["name"], &json[0]["enforced"], &json[0]["since"]),
        (&json!("web"), &Value::Null, &Value::Null)
    );
    assert!(site.prints("policies -o yaml").await.starts_with("- "));
    *site.compiler.ask.explanation.lock().unwrap() = allowed(true);
    let json: Value = serde_json::from_str(&site.prints("can shop/a reach shop/b:80 -o json").await).unwrap();
    assert_eq!((&json["allowed"], &json["explanations"][0]["allowed"]), (&json!(true), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_has_answers_without_addresses_and_says_what_is_missing() {
    let site = Site::start().await;
    let finding =
        v1::Finding { message: "ipBlock 10.9.8.7/32 is a pod's".to_owned(), ..v1::Finding::default() };
    *site.compiler.ask.findings.lock().unwrap() = vec![finding];
    for (option, has_address) in [("", false), ("--with-addresses", true)] {
        let folder = tempfile::TempDir::new().unwrap();
        let mut command = site.flockctl(&format!("bundle {option}"));
        command.current_dir(folder.path());
        let ended = end(command).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
        let file = folder.path().join(ended.stdout.trim());
        let mut tar = std::process::Command::new("tar");
        tar.arg("-xzf").arg(file).arg("-C").arg(folder.path()).arg("--strip-components=1");
        assert!(tar.status().unwrap().success());
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name));
        let read = |name: &str| text(name).unwrap_or_else(|_| panic!("no {name}: {:?}", text("README.txt")));
        assert!(read("nodes.json").contains("n1") && read("problems.json").contains("shop/web"));
        assert_eq!(read("lint.json").contains("10.9.8.7"), has_address, "{}", read("lint.json"));
        for name in ["README.txt", "policies.json", "open.json", "drops.json", "history.json"] {
            let text = read(name);
            assert!(!text.contains(crate::site::USER_TOKEN) && !text.contains("eyJ"), "{name}: {text}");
        }
    }
}
