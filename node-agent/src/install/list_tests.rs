use super::super::entry::tests::entry;
use super::*;

const FLANNEL: &str = r#"{
  "name": "cbr0",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "flannel",
      "delegate": {
        "hairpinMode": true,
        "isDefaultGateway": true
      }
    },
    {
      "type": "portmap",
      "capabilities": {
        "portMappings": true
      }
    }
  ]
}
"#;

/// Keys in no order, numbers as they are written, tabs, no end of line.
const ODD: &str = "{\"plugins\":[\t{\"mtu\":1.50e3,\"type\":\"ptp\"} ],\"zeta\":1, \"cniVersion\":\"1.1.0\",\"cniVersions\":[\"0.3.0\",\"1.0.0\"],\"name\":\"n\"}";

fn with(text: &str) -> Option<String> {
    List::read(text).unwrap().with(&entry()).unwrap()
}

fn without(text: &str) -> Option<String> {
    List::read(text).unwrap().without()
}

#[test]
fn the_plugin_comes_last_and_all_else_is_as_it_was() {
    let own = entry().text();
    let expected = FLANNEL.replace("    }\n  ]", &format!("    }},\n    {own}\n  ]"));
    assert_eq!(with(FLANNEL).as_deref(), Some(expected.as_str()));
    let odd = with(ODD).unwrap();
    assert_eq!(odd, ODD.replace("\"ptp\"}", &format!("\"ptp\"}},\t{own}")));
    for text in [FLANNEL, ODD] {
        let edited = with(text).unwrap();
        assert_eq!(with(&edited), None, "a second time");
        assert_eq!(without(&edited).as_deref(), Some(text), "and back");
        assert_eq!(without(text), None);
    }
}

#[test]
fn what_the_plugin_is_told_changes_in_place() {
    let edited = with(FLANNEL).unwrap();
    let other = PluginEntry { timeout: std::time::Duration::from_secs(1), ..entry() };
    let changed = List::read(&edited).unwrap().with(&other).unwrap().unwrap();
    assert_eq!(changed, edited.replace("2000", "1000"));
    assert_eq!(without(&changed).as_deref(), Some(FLANNEL));
}

#[test]
fn others_may_come_after_it_and_one_of_it_is_enough() {
    let edited = with(FLANNEL).unwrap();
    let own = entry().text();
    let after = edited.replace(&own, &format!("{own},\n    {{\"type\": \"istio-cni\"}}"));
    assert_eq!(with(&after), None);
    let removed = FLANNEL.replace("    }\n  ]", "    },\n    {\"type\": \"istio-cni\"}\n  ]");
    assert_eq!(without(&after), Some(removed));
    let twice = edited.replace(&own, &format!("{own},\n    {own}"));
    assert_eq!(with(&twice).as_deref(), Some(edited.as_str()));
    assert_eq!(without(&twice).as_deref(), Some(FLANNEL));
    // In front of all others it would have nothing to hand on.
    let first =
        ODD.replace('[', &format!("[{own}, ")).replacen(&format!("[{own}, \"0.3.0\""), "[\"0.3.0\"", 1);
    let moved = with(&first).unwrap();
    let types = |text: &str| List::read(text).unwrap().plugins.len();
    assert_eq!((types(&moved), without(&moved).map(|text| types(&text))), (2, Some(1)));
    assert!(moved.find("ptp") < moved.find("flock-cni"), "{moved}");
}

#[test]
fn what_is_not_understood_is_left_alone() {
    for text in [
        "",
        "{",
        "[]",
        r#"{"cniVersion":"1.0.0","name":"n"}"#,
        r#"{"cniVersion":"1.0.0","name":"n","plugins":{}}"#,
        r#"{"cniVersion":"1.0.0","name":"n","plugins":[1]}"#,
        r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"kind":"ptp"}]}"#,
        r#"{"cniVersion":"1.0.0","plugins":[{"type":"ptp"}]}"#,
        r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}],"plugins":[{"type":"ptp"}]}"#,
        r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}]"#,
    ] {
        assert!(matches!(List::read(text), Err(Unusable::Unreadable(_))), "{text}");
    }
    for empty in ["", &entry().text()] {
        let text = format!(r#"{{"cniVersion":"1.0.0","name":"n","plugins":[{empty}]}}"#);
        assert_eq!(List::read(&text).unwrap().with(&entry()), Err(Unusable::Empty));
    }
    let multus = r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"multus"}]}"#;
    assert_eq!(List::read(multus).unwrap().with(&entry()), Err(Unusable::Delegating("multus".to_owned())));
}

#[test]
fn versions_that_the_plugin_does_not_speak_would_stop_pods() {
    for versions in [
        r#""cniVersion":"0.2.0""#,
        r#""cniVersion":"1.2.0""#,
        r#""cniVersion":1"#,
        r#""cniVersion":"1.0.0","cniVersions":["1.0.0","1.2.0"]"#,
        r#""x":1"#,
    ] {
        let text = format!(r#"{{{versions},"name":"n","plugins":[{{"type":"ptp"}}]}}"#);
        assert!(matches!(List::read(&text), Err(Unusable::Version { .. })), "{text}");
    }
    let text =
        r#"{"cniVersion":"1.0.0","cniVersions":["0.1.0","1.1.0"],"name":"n","plugins":[{"type":"ptp"}]}"#;
    assert!(List::read(text).is_ok());
}

#[test]
fn a_single_plugin_becomes_a_list() {
    let single = "{\n  \"cniVersion\": \"0.4.0\",\n  \"name\": \"pod \\\"net\\\"\",\n  \"type\": \"ptp\", \"mtu\": 1.0\n}\n";
    let made = of_single(single, &entry()).unwrap();
    assert!(made.contains(single.trim()), "{made}");
    let list = List::read(&made).unwrap();
    assert_eq!((list.name.as_str(), list.plugins.len(), list.has_ours()), ("pod \"net\"", 2, true));
    assert_eq!(list.with(&entry()), Ok(None));
    assert_eq!(name_of_single(single).as_deref(), Ok("pod \"net\""));
    for text in
        ["{}", r#"{"type":"ptp","cniVersion":"1.0.0"}"#, r#"{"name":"n","cniVersion":"1.0.0","plugins":[]}"#]
    {
        assert!(matches!(of_single(text, &entry()), Err(Unusable::Unreadable(_))), "{text}");
    }
    let multus = r#"{"name":"n","cniVersion":"1.0.0","type":"multus"}"#;
    assert!(matches!(of_single(multus, &entry()), Err(Unusable::Delegating(_))));
}
