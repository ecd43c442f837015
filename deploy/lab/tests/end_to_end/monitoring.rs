//! What is in deploy/monitoring, with a real Prometheus: alerts fire when they should, and every panel of the dashboard shows
//! something of a cluster that is well, of which no alert is so much as pending.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flock_lab::skipped;
use flock_testkit::{AccountToken, Grant, NETWORK_POLICY, Subject};
use serde_json::Value;

use crate::compiler::get;
use crate::ground::NODES;
use crate::secured::{HOUR, Secured};
use crate::shop::allow;
use crate::support::process::Process;
use crate::support::programs::workspace;
use crate::support::wait::{wait_for, wait_until};

fn file(name: &str) -> PathBuf {
    workspace().join("deploy/monitoring").join(name)
}

/// Returns true if a program of Debian's package `prometheus` is there; else says that it is not.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        skipped(&format!("no {program} here (Debian's package prometheus has it)"));
    }
    is_there
}

/// Derives the rules of a Prometheus without an operator, in the way that `rules.yaml` tells; where they are.
fn plain_rules(directory: &Path) -> PathBuf {
    let plain = directory.join("flock.rules.yaml");
    let derived =
        Command::new("sed").args(["-n", r"/^  groups:/,$s/^  //p"]).arg(file("rules.yaml")).output().unwrap();
    fs::write(&plain, derived.stdout).unwrap();
    plain
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    if !has("promtool") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let plain = plain_rules(directory.path());
    let tests = directory.path().join("rules.test.yaml");
    fs::copy(file("rules.test.yaml"), &tests).unwrap();
    for (command, file) in [("check", &plain), ("test", &tests)] {
        let output = Command::new("promtool").args([command, "rules"]).arg(file).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
        assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
    }
    // Each alert is among those that are tested, to fire and not to.
    let [rules, tested] = [&plain, &tests].map(|file| fs::read_to_string(file).unwrap());
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let tests: Vec<&str> = tested.split(&format!("alertname: {alert}\n")).skip(1).collect();
        let well = tests.iter().filter(|test| test.lines().nth(1).is_some_and(|line| line.ends_with("[]")));
        assert_eq!((tests.len(), well.count()), (2, 1), "{alert}");
    }
}

/// A Prometheus that scrapes a compiler as `podmonitor.yaml` says, and judges the rules.
struct Prometheus {
    _process: Process,
    address: SocketAddr,
}

impl Prometheus {
    fn start(site: &Secured) -> Self {
        let directory = site.ground.directory();
        let token = site.api.server.identities().issue(&AccountToken::new("flock-system", "flock-metrics"));
        let account = Subject::account("flock-system", "flock-metrics");
        site.api.server.grants().allow(Grant::path(account, "get", "/metrics"));
        fs::write(site.file("token-metrics"), token).unwrap();
        let (target, rules) = (site.compiler.admin_address(), plain_rules(directory));
        let (ca, token) = (site.file("ca.crt"), site.file("token-metrics"));
        let config = serde_json::json!({
            "global": { "scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms" },
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "flock-system/flock-compiler",
                "scheme": "https",
                "authorization": { "type": "Bearer", "credentials_file": token },
                "tls_config": { "ca_file": ca, "server_name": "flock-compiler.flock-system.svc" },
                "static_configs": [{ "targets": [target.to_string()], "labels": { "pod": "compiler-a" } }],
            }],
        });
        let config_file = site.file("prometheus.yml");
        fs::write(&config_file, config.to_string()).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config_file.display()));
        command.arg(format!("--storage.tsdb.path={}", site.file("tsdb").display()));
        command.args(["--web.listen-address=127.0.0.1:0", "--query.lookback-delta=1m"]);
        let mut process = Process::start(command, directory);
        let line = process.line("msg=\"Listening on\"");
        let address = line.split_whitespace().find_map(|field| field.strip_prefix("address="));
        let address = address.unwrap().parse().unwrap();
        process.line("Server is ready to receive web requests");
        Self { _process: process, address }
    }

    fn api(&self, path: &str) -> Value {
        let (status, body) = get(self.address, &format!("/api/v1/{path}"));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].take()
    }

    /// The values of the series that an expression gives.
    fn query(&self, expression: &str) -> Vec<f64> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.api(&format!("query?query={escaped}"));
        let series = data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}"));
        series.iter().map(|series| series["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The alerts, each with its health and its state.
    fn alerts(&self) -> Vec<[String; 3]> {
        let data = self.api("rules?type=alert");
        let rules =
            data["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules
            .map(|rule| ["name", "health", "state"].map(|key| rule[key].as_str().unwrap().to_owned()))
            .collect()
    }
}

/// The expressions of the dashboard's panels, as Grafana fills them in, each with its panel's title.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(file("dashboard.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$job", ".+").replace("$__rate_interval", "1m");
            assert!(!expression.contains('$'), "{expression}");
            found.push((title.to_owned(), expression));
        }
    }
    assert!(found.len() > 30);
    found
}

#[test]
fn every_panel_shows_something_and_a_healthy_cluster_alerts_nobody() {
    if !has("prometheus") {
        return;
    }
    let Some(site) = Secured::new("monitoring") else { return };
    let prometheus = Prometheus::start(&site);
    let _agents = NODES.map(|node| {
        site.token(node, node, HOUR);
        site.agent(node, node)
    });
    site.settle();
    wait_until("the scrape of two agents", || prometheus.query("flock_compiler_streams") == [2.0]);
    // Rates are of what happens after the first scrape.
    site.api.put(NETWORK_POLICY, allow("db"));
    site.settle();
    let took = "histogram_quantile(0.5, sum by (le) (rate(flock_compiler_propagation_seconds_bucket[1m])))";
    let took =
        wait_for("the change", || prometheus.query(took).first().copied().filter(|took| took.is_finite()));
    assert!(took > 0.0, "{took}");

    for (title, expression) in panels() {
        assert!(!prometheus.query(&expression).is_empty(), "{title}: {expression}");
    }
    for (expression, value) in [
        ("flock_compiler_nodes{state=\"current\"}", 2.0),
        ("flock_compiler_ready", 1.0),
        ("sum(flock_compiler_problems)", 0.0),
        ("sum(flock_compiler_watching)", 5.0),
    ] {
        assert_eq!(prometheus.query(expression), [value], "{expression}");
    }
    for expression in [
        "sum(rate(flock_compiler_sent_bytes_total{kind=\"delta\"}[1m]))",
        "flock_compiler_certificate_expiry_timestamp_seconds - time() - 29 * 24 * 3600",
        "sum(flock_compiler_reviews_total{outcome=\"answered\"})",
    ] {
        assert!(prometheus.query(expression)[0] > 0.0, "{expression}");
    }
    let judged = wait_for("the judgement of all rules", || {
        let alerts = prometheus.alerts();
        alerts.iter().all(|[_, health, _]| health != "unknown").then_some(alerts)
    });
    assert!(judged.len() > 10);
    for alert in judged {
        let [name, health, state] = alert.each_ref().map(String::as_str);
        assert_eq!((health, state), ("ok", "inactive"), "{name}");
    }
}
