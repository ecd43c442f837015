//! What an asker who may not see everything is told.

use super::*;

fn only_shop() -> Sight {
    Sight::Only([NamespaceName::new("shop").unwrap()].into())
}

/// Everything that an answer says, as text.
fn said(answer: &v1::ExplainResponse) -> String {
    format!("{answer:?}")
}

#[test]
fn policies_of_other_namespaces_are_no_more_than_that_there_are_some() {
    let rules = vec![rule(vec![pods_in("web", is("secret", "x"))], [by_name("hidden")])];
    let mut world = shop();
    for policy in [ingress("web", "private", rules), ingress("web", "confidential", Vec::new())] {
        world.apply(Change::Policy(Edit::Upsert(policy)));
    }
    world.apply(Change::Policy(Edit::Delete(policy_key("shop", "api"))));
    let answer = ask_as(&only_shop(), &world, a_pod("shop/api-5f6b"), a_pod("web/front"), 80).unwrap();
    for word in ["private", "confidential", "secret", "hidden", "10.244.3", "n3", "app=front"] {
        assert!(!said(&answer).contains(word), "{word}: {answer:#?}");
    }
    let (_, denied) = both(&only(Ok(answer)));
    assert_eq!(denied.words, "isolated by a policy of namespace web, and nothing there allows it");
    assert_eq!(denied.isolated_by.len(), 1);
    assert_eq!(denied.isolated_by[0].policy, "a policy of namespace web");

    let rules = vec![on_any_port(vec![]), on_any_port(vec![])];
    let mut allowing = ingress("web", "private", rules);
    let PolicyBody::Understood(body) = &mut allowing.body else { panic!() };
    body.ingress = Some(
        vec![flock_compiler_core::object::Rule {
            peers: flock_compiler_core::object::PeerMatch::Any,
            ports: flock_compiler_core::object::RulePorts::Any,
        }]
        .into(),
    );
    world.apply(Change::Policy(Edit::Upsert(allowing)));
    let answer = ask_as(&only_shop(), &world, a_pod("shop/api-5f6b"), a_pod("web/front"), 80).unwrap();
    assert!(!said(&answer).contains("private"), "{answer:#?}");
    let (_, allowed) = both(&only(Ok(answer)));
    assert_eq!(allowed.words, "a policy of namespace web");
    assert_eq!(allowed.allowed_by[0].text, "a policy of namespace web");
    assert_eq!(allowed.allowed_by[0].rule, None);
}

#[test]
fn of_pods_of_other_namespaces_there_are_no_labels_ports_addresses_or_nodes() {
    let mut world = shop();
    let front = Pod {
        ports: [named("secret-port", 80)].into(),
        labels: labels(&[("app", "front"), ("classified", "yes")]),
        ..pod("web/front", "front", 3, &["10.244.3.3"])
    };
    world.apply(Change::Pod(Edit::Upsert(front)));
    let block = Peer::Block(
        IpBlock::new("10.244.0.0/16".parse().unwrap(), &["10.244.3.0/24".parse().unwrap()]).unwrap(),
    );
    let rules = vec![
        rule(vec![objects::pods_anywhere(is("classified", "no")), block], [by_name("http")]),
        rule(vec![pods_in("shop", Selector::everything())], [by_name("secret-port")]),
    ];
    world.apply(Change::Policy(Edit::Upsert(policy("shop", "api", None, Some(rules)))));
    let answer = ask_as(&only_shop(), &world, a_pod("shop/api-5f6b"), a_pod("web/front"), 443).unwrap();
    // What the asker's own policy says is told, and nothing of what is there.
    for word in
        ["classified=yes", "secret-port=80", "80/TCP", "10.244.3.3", "n3", "app=front", "selects no pod"]
    {
        assert!(!said(&answer).contains(word), "{word}: {answer:#?}");
    }
    let (denied, _) = both(&only(Ok(answer)));
    let misses = misses(&denied);
    assert_eq!(
        misses[0].1,
        [
            "pods classified=no of all namespaces: a pod of namespace web does not match",
            "10.244.0.0/16 except 10.244.3.0/24 excludes its address"
        ]
    );
    assert_eq!(misses[0].2, ["\"http\": the destination does not call the port so"]);
}

#[test]
fn an_address_of_somebody_else_is_that_of_a_pod_of_some_namespace() {
    let world = shop();
    let answer = only(ask_as(&only_shop(), &world, an_address("10.244.3.3"), a_pod("shop/api-5f6b"), 80));
    let from = answer.from.unwrap();
    assert_eq!((from.name.as_str(), from.pod), ("a pod of namespace web", None));
    assert_eq!((from.address.as_deref(), from.node), (Some("10.244.3.3"), None));
}

#[test]
fn who_may_see_neither_end_is_told_nothing_not_even_whether_they_are_there() {
    let world = shop();
    let asked = |from, to| ask_as(&only_shop(), &world, from, to, 80);
    let there = asked(a_pod("web/front"), a_pod("other/thing"));
    assert!(matches!(there, Err(AskError::NotAllowed(_))), "{there:?}");
    for (from, to) in [
        (a_pod("web/nobody"), a_pod("other/thing")),
        (a_pod("web/front"), a_pod("nowhere/nobody")),
        (an_address("10.244.3.3"), an_address("10.244.3.4")),
        (an_address("10.244.3.3"), an_address("10.244.3.99")),
        (an_address("10.244.3.3"), end(Asked::Internet(true))),
        (end(Asked::Internet(true)), a_pod("web/front")),
    ] {
        assert_eq!(asked(from, to), there);
    }
    // Endpoints are what the asker says, so a Service of its own does not make them its own.
    let service = |pod: Option<&str>, address: &str| {
        let pod = pod.map(|name| v1::PodName { namespace: "web".into(), name: name.into() });
        let endpoints = vec![v1::ServiceEndpoint { pod, address: address.into(), target_port: 80 }];
        end(Asked::Service(v1::ServiceEnd {
            namespace: "shop".into(),
            name: "svc".into(),
            endpoints,
            total: 1,
        }))
    };
    assert_eq!(asked(service(Some("front"), ""), a_pod("other/thing")), there);
    assert_eq!(asked(service(None, "10.244.3.3"), a_pod("other/thing")), there);
    // Where one end is the asker's, it may try whether the other one is there.
    assert!(asked(a_pod("shop/api-5f6b"), a_pod("web/front")).is_ok());
    let absent = asked(a_pod("shop/api-5f6b"), a_pod("web/nobody"));
    assert!(matches!(absent, Err(AskError::NotFound(_))), "{absent:?}");
    // But not by labels, which are nobody else's.
    let selection = |selector: &str| {
        end(Asked::Selection(v1::PodSelection { namespace: "web".into(), selector: selector.into() }))
    };
    let [there, absent] =
        ["app=front", "app=nobody"].map(|app| asked(a_pod("shop/api-5f6b"), selection(app)));
    assert!(matches!(there, Err(AskError::NotFound(_))), "{there:?}");
    assert!(matches!(absent, Err(AskError::NotFound(_))), "{absent:?}");
}

#[test]
fn nodes_are_for_those_who_see_everything() {
    let own = Node { addresses: ["10.9.0.1".parse().unwrap()].into(), ..node(3) };
    let world = with(shop(), Change::Node(Edit::Upsert(own)));
    let node = || end(Asked::Node("n3".into()));
    let error = ask_as(&only_shop(), &world, node(), a_pod("shop/api-5f6b"), 80).unwrap_err();
    assert!(matches!(error, AskError::NotAllowed(_)), "{error}");
    assert!(ask(&world, node(), a_pod("shop/api-5f6b"), 80).is_ok());
    let by_address =
        ask_as(&only_shop(), &world, an_address("10.9.0.1"), a_pod("shop/api-5f6b"), 80).unwrap();
    assert!(!said(&by_address).contains("n3"), "{by_address:#?}");
}
