use super::*;

fn at(day: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap() + Duration::days(day)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn step(material: &Material, day: i64) -> Option<Material> {
    renew(material, &names(&["compiler.system.svc"]), at(day), &Lifetimes::default()).unwrap()
}

fn issuer(material: &Material) -> &str {
    &material.leaf.as_ref().unwrap().issuer
}

#[test]
fn there_is_an_authority_and_a_leaf_from_nothing_and_then_nothing_is_due() {
    let made = step(&Material::default(), 0).unwrap();
    assert_eq!((made.authorities.len(), issuer(&made)), (1, made.authorities[0].name.as_str()));
    assert_eq!(step(&made, 0), None);
    assert_eq!(Material::read(&made.write()), Ok(made.clone()), "as it was written");
    let shown = format!("{made:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("BEGIN"), "{shown}");
}

#[test]
fn a_leaf_is_renewed_well_before_its_end() {
    let made = step(&Material::default(), 0).unwrap();
    assert_eq!(step(&made, 19), None);
    let renewed = step(&made, 20).unwrap();
    assert_eq!(renewed.authorities, made.authorities);
    assert_eq!(renewed.expires(), Some(at(50)));
}

#[test]
fn an_authority_is_followed_by_one_that_is_published_before_it_signs() {
    let mut material = step(&Material::default(), 0).unwrap();
    let first = material.authorities[0].clone();
    let mut days = Vec::new();
    for day in 1..=365 {
        if let Some(renewed) = step(&material, day) {
            material = renewed;
            days.push((day, material.authorities.len(), issuer(&material) == first.name));
        }
        // Whoever reads the bundle now or read it a day ago trusts what is shown.
        let bundle = material.bundle();
        let signer = material.authorities.iter().find(|it| it.name == issuer(&material)).unwrap();
        assert!(bundle.contains(&signer.certificate), "{day}");
        assert!(signer.is_valid(at(day)) && material.expires().unwrap() > at(day), "{day}");
    }
    let change: Vec<_> = days.iter().filter(|(day, ..)| (243..=246).contains(day)).collect();
    assert_eq!(change, [&(244, 2, true), &(245, 2, false), &(246, 1, false)]);
}

#[test]
fn names_are_added_and_never_taken() {
    let made = step(&Material::default(), 0).unwrap();
    let renewed = renew(&made, &names(&["other"]), at(0), &Lifetimes::default()).unwrap().unwrap();
    assert_eq!(renewed.leaf.as_ref().unwrap().names, names(&["compiler.system.svc", "other"]));
    assert_eq!(step(&renewed, 0), None, "the replica with fewer names is content");
}

#[test]
fn a_certificate_may_be_for_addresses() {
    let wanted = names(&["10.96.0.7", "2001:db8::7", "compiler"]);
    let made = renew(&Material::default(), &wanted, at(0), &Lifetimes::default()).unwrap().unwrap();
    let read = Material::read(&made.write()).unwrap();
    assert_eq!(read.leaf.as_ref().unwrap().names, wanted);
    assert_eq!(renew(&read, &wanted, at(0), &Lifetimes::default()).unwrap(), None, "nothing is due");
}

#[test]
fn a_clock_that_jumps_ends_with_a_leaf_that_is_valid_now() {
    let mut material = step(&Material::default(), 0).unwrap();
    for day in [400, 0, 4000, -300, 0, 1] {
        material = step(&material, day).unwrap_or(material);
        let leaf = material.leaf.as_ref().unwrap();
        assert!(leaf.valid.from <= at(day) && at(day) < leaf.valid.until, "{day}: {material:?}");
        let signer = material.authorities.iter().find(|it| it.name == leaf.issuer).unwrap();
        assert!(signer.is_valid(at(day)), "{day}: {material:?}");
        assert!(material.authorities.len() <= MOST_AUTHORITIES);
    }
}

#[test]
fn what_is_not_ours_is_not_read() {
    let made = step(&Material::default(), 0).unwrap().write();
    for (key, text) in [
        ("ca.crt", "x"),
        ("ca.key", ""),
        ("tls.crt", "-----BEGIN X-----"),
        ("tls.key", "-----BEGIN X-----\n"),
    ] {
        let mut data = made.clone();
        data.insert(key.to_owned(), text.as_bytes().to_vec());
        let error = Material::read(&data).unwrap_err().to_string();
        assert!(!error.contains("BEGIN"), "{error}");
    }
    let mut data = made.clone();
    data.insert("ca.crt".to_owned(), Vec::new());
    data.insert("ca.key".to_owned(), Vec::new());
    assert_eq!(Material::read(&data), Err(super::super::MaterialError::Stray));
    let mut data = made;
    data.insert("ca.crt".to_owned(), vec![0xff]);
    assert_eq!(Material::read(&data), Err(super::super::MaterialError::NotText { key: "ca.crt" }));
}
