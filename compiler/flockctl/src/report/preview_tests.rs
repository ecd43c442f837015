//! Each form has a golden; `BLESS=1` writes it.

use std::path::Path;

use flock_proto::v1::{PortAtom, ProposedObject};

use super::*;

fn atom(protocol: &str, first: u32, last: u32) -> PortAtom {
    PortAtom { protocol: protocol.into(), first, last, ..PortAtom::default() }
}

fn row(
    change: Change,
    [from, to, because]: [&str; 3],
    ports: Vec<PortAtom>,
    objects: &[[&str; 2]],
) -> PreviewRow {
    let end = |name: &str| Some(ShownEnd { name: name.into(), ..ShownEnd::default() });
    let object =
        |[name, origin]: &[&str; 2]| ProposedObject { name: (*name).into(), origin: (*origin).into() };
    PreviewRow {
        change: change.into(),
        from: end(from),
        to: end(to),
        everything: ports.is_empty(),
        ports,
        because: because.into(),
        objects: objects.iter().map(object).collect(),
        ..PreviewRow::default()
    }
}

fn rows() -> Vec<PreviewRow> {
    let other = |first, last| PortAtom { any_other: true, ..atom("TCP", first, last) };
    let web = PortAtom { name: "web|\u{202e}`x`".into(), ..atom("TCP", 8080, 8080) };
    let allowed = "allowed by shop/allow-dns egress[0]; kube-system/dns-only-from-shop ingress[0]";
    vec![
        row(
            Change::Opened,
            ["shop/deploy/api", "kube-system/deploy/dns", allowed],
            vec![atom("UDP", 53, 53)],
            &[
                ["NetworkPolicy kube-system/dns-only-from-shop", ""],
                ["NetworkPolicy shop/allow-dns", "./new file.yaml"],
            ],
        ),
        row(
            Change::Closed,
            ["sandbox/toolbox", "kube-system/deploy/dns", "isolated by kube-system/dns-only-from-shop"],
            Vec::new(),
            &[["NetworkPolicy kube-system/dns-only-from-shop", "policies/dns.yaml"]],
        ),
        row(
            Change::Closed,
            ["0.0.0.0/0 except 10.0.0.0/8", "shop/api", "isolated by shop/web"],
            vec![
                web,
                other(0, 8079),
                other(8081, 65535),
                atom("UDP", 0, 65535),
                atom("SCTP", 1, 9),
                atom("other", 0, 0),
            ],
            &[["NetworkPolicy shop/old", ""]],
        ),
    ]
}

fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

#[test]
fn previews_are_markdown_that_does_nothing() {
    golden("preview.md", &markdown(&rows()));
    assert_eq!(markdown(&[]), "**No flow opens or closes.**\n");
    let many: Vec<PreviewRow> = std::iter::repeat_with(rows).flatten().take(250).collect();
    assert!(markdown(&many).ends_with("\nand 50 more\n"));
}

#[test]
fn previews_are_sarif_at_the_files_that_bring_them_about() {
    let log = sarif(&rows(), "flockctl", "1.2.3");
    let results = log["runs"][0]["results"].as_array().unwrap();
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
    }
    let uri = |result: &Value| result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
    assert_eq!(uri(&results[0]), "new%20file.yaml");
    assert_eq!(uri(&results[2]), Value::Null, "what is deleted is in no file");
    golden("preview.sarif", &format!("{log:#}\n"));
}

#[test]
fn previews_are_csv_without_formulas() {
    golden("preview.csv", &csv(&rows()));
    let hostile = row(Change::Opened, ["=1+1", "a\"b,c\n", "@x"], Vec::new(), &[]);
    let text = csv(&[hostile]);
    assert!(
        text.ends_with("\"opened\",\"'=1+1\",\"a\"\"b,c\u{fffd}\",\"everything\",\"'@x\",\"\",\"\"\r\n"),
        "{text:?}"
    );
}
