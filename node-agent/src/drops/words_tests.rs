use super::*;

const OF: Option<(Direction, Family)> = Some((Direction::Ingress, Family::V4));

fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &parts.concat())
}

fn counter_of(packets: u64) -> Vec<Vec<u8>> {
    let data = [attribute(1, &7u64.to_be_bytes()), attribute(COUNTER_PACKETS, &packets.to_be_bytes())];
    vec![attribute(EXPRESSION_NAME, b"counter\0"), nested(EXPRESSION_DATA, &data)]
}

fn element(key: &[u8], packets: u64, left: u64) -> Vec<u8> {
    nested(
        ITEM,
        &[
            nested(ELEMENT_KEY, &[attribute(DATA_VALUE, key)]),
            attribute(ELEMENT_EXPIRATION, &left.to_be_bytes()),
            nested(ELEMENT_EXPRESSION, &counter_of(packets)),
        ],
    )
}

fn answer(kind: u16, sequence: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    message(kind, 2, sequence, INET, 0, &parts.concat())
}

fn heard(datagram: &[u8], of: Option<(Direction, Family)>) -> Vec<Said> {
    let mut all = Vec::new();
    said(datagram, 5, of, |said| all.push(said));
    all
}

fn key(protocol: u8, port: u16) -> DropKey {
    DropKey {
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        protocol,
        port,
        direction: DropDirection::Ingress,
    }
}

#[test]
fn an_element_is_a_flow_with_its_packets_and_the_time_that_is_left() {
    let of = |protocol, port: [u8; 2]| {
        [&[10, 0, 0, 1, 10, 0, 0, 2][..], &[protocol, 0, 0, 0], &port, &[0, 0]].concat()
    };
    let elements = [
        element(&of(6, [0, 80]), 3, 59_000),
        element(&of(1, [8, 0]), 2, 1),
        // What has no port has none, whatever stands there.
        element(&of(47, [9, 9]), 1, 0),
        element(&[1, 2, 3], 1, 0),
    ];
    let set = [attribute(TABLE, NAME), attribute(ELEMENTS_SET, b"x\0"), nested(ELEMENTS, &elements)];
    let datagram =
        [answer(NEW_ELEMENT, 5, &set), answer(NEW_ELEMENT, 4, &set), message(NLMSG_DONE, 2, 5, 0, 0, &[])];
    let flow = |key, packets, left| Said::Flow(KeptFlow { key, packets, left: Duration::from_millis(left) });
    let expected =
        [flow(key(6, 80), 3, 59_000), flow(key(1, 0x0800), 2, 1), flow(key(47, 0), 1, 0), Said::Done];
    assert_eq!(heard(&datagram.concat(), OF), expected);
    let long = [[0xfd; 16], [0xfe; 16]].concat();
    let six = element(&[&long[..], &[17, 0, 0, 0, 0, 53, 0, 0]].concat(), 1, 0);
    let told =
        heard(&answer(NEW_ELEMENT, 5, &[nested(ELEMENTS, &[six])]), Some((Direction::Egress, Family::V6)));
    let [Said::Flow(KeptFlow { key, .. })] = told[..] else { panic!("{told:?}") };
    assert_eq!((key.source, key.port, key.direction), ([0xfd; 16].into(), 53, DropDirection::Egress));
}

#[test]
fn rules_say_what_they_have_counted_and_tables_who_they_are() {
    let other = [attribute(EXPRESSION_NAME, b"dynset\0"), nested(EXPRESSION_DATA, &counter_of(9))];
    let expressions = [nested(ITEM, &other), nested(ITEM, &counter_of(4))];
    let rule = answer(NEW_RULE, 5, &[attribute(TABLE, NAME), nested(RULE_EXPRESSIONS, &expressions)]);
    assert_eq!(heard(&rule, None), [Said::Dropped(4)]);
    let table = answer(NEW_TABLE, 5, &[attribute(TABLE, NAME), attribute(TABLE_HANDLE, &7u64.to_be_bytes())]);
    assert_eq!(heard(&table, None), [Said::Table(7)]);
    let error = |number: i32| {
        let [first, second, third, last] = number.to_ne_bytes();
        message(NLMSG_ERROR, 0, 5, first, 0, &[])
            .into_iter()
            .take(HEADER)
            .chain([first, second, third, last])
            .collect::<Vec<u8>>()
    };
    assert_eq!(heard(&error(-2), None), [Said::Refused(-2)]);
    assert_eq!(heard(&error(0), None), [Said::Done]);
}

fn shown_as(group: u16, bytes: &[u8]) -> Vec<DropKey> {
    let body = [attribute(1, &[0; 4]), attribute(SHOWN_PAYLOAD, bytes)].concat();
    shown(&message(SHOWN_PACKET, 0, 0, 2, group, &body)).collect()
}

#[test]
fn a_packet_that_is_shown_is_its_flow() {
    let ingress = group(Direction::Ingress);
    let v4 = |protocol, fragment: [u8; 2], transport: &[u8]| {
        let head = [0x46, 0, 0, 40, 0, 0, fragment[0], fragment[1], 63, protocol, 0, 0];
        [&head[..], &[10, 0, 0, 1, 10, 0, 0, 2], &[1, 1, 1, 0], transport].concat()
    };
    assert_eq!(shown_as(ingress, &v4(6, [0x40, 0], &[9, 9, 0, 80, 0])), [key(6, 80)]);
    assert_eq!(shown_as(ingress, &v4(1, [0, 0], &[8, 0, 7, 7])), [key(1, 0x0800)]);
    assert_eq!(shown_as(ingress, &v4(50, [0, 0], &[1, 2, 3, 4])), [key(50, 0)]);
    for nothing in [&v4(6, [0, 1], &[9, 9, 0, 80])[..], &v4(6, [0, 0], &[9, 9, 0]), &[0x45, 0], &[]] {
        assert_eq!(shown_as(ingress, nothing), [], "{nothing:?}");
    }
    assert_eq!(shown_as(1, &v4(6, [0, 0], &[9, 9, 0, 80])), [], "another group's");
    // Hop-by-hop options of 16 bytes, a fragment header, UDP.
    let head = [&[0x60, 0, 0, 0, 0, 40, 0, 63][..], &[0xfd; 16], &[0xfe; 16]].concat();
    let behind = [&[44, 1][..], &[0; 14], &[17, 0, 0, 1, 0, 0, 0, 0], &[9, 9, 0, 53]].concat();
    let told = shown_as(group(Direction::Egress), &[head, behind].concat());
    let [key] = told[..] else { panic!("{told:?}") };
    assert_eq!((key.protocol, key.port, key.direction), (17, 53, DropDirection::Egress));
}

#[test]
fn what_is_cut_or_flipped_is_read_without_a_panic() {
    let elements = nested(ELEMENTS, &[element(&[1; 16], 3, 9), element(&[2; 16], 3, 9)]);
    let body = [attribute(1, &[0; 4]), attribute(SHOWN_PAYLOAD, &[0x60; 60])].concat();
    let whole = [
        answer(NEW_ELEMENT, 5, &[attribute(TABLE, NAME), elements]),
        message(SHOWN_PACKET, 0, 0, 2, group(Direction::Ingress), &body),
    ]
    .concat();
    for end in 0..whole.len() {
        let _ = heard(&whole[..end], OF);
        let _ = shown(&whole[..end]).count();
        for value in [0, 1, 0x7f, 0xff] {
            let mut flipped = whole.clone();
            flipped[end] = value;
            assert!(heard(&flipped, OF).len() <= 3);
            assert!(shown(&flipped).count() <= 2);
        }
    }
}
