use super::*;

/// What the kernel tells of a UDP flow through a service: 10.1.0.2 asks 10.96.0.3:80, which is 10.1.0.3:81.
fn translated(sequence: u32) -> Vec<u8> {
    let tuple = |kind, source: [u8; 4], destination: [u8; 4], from: u16, to: u16| {
        let addresses = [attribute(1, &source), attribute(2, &destination)].concat();
        let ports = [attribute(1, &[17]), attribute(2, &from.to_be_bytes()), attribute(3, &to.to_be_bytes())];
        let both = [
            attribute(CTA_TUPLE_IP | NESTED, &addresses),
            attribute(CTA_TUPLE_PROTO | NESTED, &ports.concat()),
        ];
        attribute(kind | NESTED, &both.concat())
    };
    let body = [
        vec![AF_INET, 0, 0, 0],
        tuple(CTA_TUPLE_ORIG, [10, 1, 0, 2], [10, 96, 0, 3], 1234, 80),
        tuple(CTA_TUPLE_REPLY, [10, 1, 0, 3], [10, 1, 0, 2], 81, 1234),
        attribute(3, &[0, 0, 0, 8]),
        attribute(CTA_ZONE, &[0, 7]),
        attribute(CTA_ID, &[1, 2, 3, 4]),
        attribute(11, &[0, 0, 0, 1]),
    ];
    message(CT_NEW, 2, sequence, &body.concat())
}

fn only_entry(datagram: &[u8]) -> ConntrackEntry {
    match &*said(datagram, 5).collect::<Vec<_>>() {
        [CtMessage::Entry(entry)] => entry.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_is_the_connection_as_the_table_sees_it_and_is_removed_by_what_tells_it_apart() {
    let entry = only_entry(&translated(5));
    let flow = Flow {
        source: [10, 1, 0, 2].into(),
        destination: [10, 1, 0, 3].into(),
        protocol: 17,
        port: 81,
        translated: Translated { source: false, destination: true },
    };
    assert_eq!(entry.flow, flow);
    let removal = removal(&entry, 9);
    let told = translated(5);
    // Tuple of the first direction, zone and number, as they came; neither status nor use.
    let kept =
        [&told[HEADER..HEADER + 4 + 52], &attribute(CTA_ZONE, &[0, 7]), &attribute(CTA_ID, &[1, 2, 3, 4])];
    assert_eq!(removal[HEADER..], kept.concat());
    assert_eq!(removal[..4], u32::try_from(removal.len()).unwrap().to_ne_bytes());
    assert_eq!(removal[4..8], [CT_DELETE.to_ne_bytes(), NLM_F_REQUEST.to_ne_bytes()].concat());
}

#[test]
fn answers_end_and_are_told_from_those_to_others() {
    let error = |number: i32, sequence| message(NLMSG_ERROR, 0, sequence, &number.to_ne_bytes());
    let datagram =
        [error(-2, u32::MAX), translated(5), message(NLMSG_DONE, 2, 5, &[0; 4]), error(-1, 5)].concat();
    let told: Vec<_> = said(&datagram, 5).collect();
    assert!(matches!(&*told, [CtMessage::Entry(_), CtMessage::Done, CtMessage::Refused(-1)]), "{told:?}");
    let address = [vec![AF_INET, 32, 0, 0], vec![0; 4], attribute(IFA_ADDRESS, &[10, 0, 0, 9])].concat();
    let local = [address.clone(), attribute(IFA_LOCAL, &[10, 0, 0, 1])].concat();
    let datagram = [message(RTM_NEWADDR, 2, 5, &address), message(RTM_NEWADDR, 2, 5, &local)].concat();
    let own = |last| CtMessage::Own([10, 0, 0, last].into());
    assert_eq!(said(&datagram, 5).collect::<Vec<_>>(), [own(9), own(1)]);
}

/// One bit or the length at a time, cut anywhere: whatever comes, it is read within its bounds, and what is taken for
/// an entry can be removed.
#[test]
fn what_is_damaged_is_read_within_its_bounds() {
    let whole = [translated(5), message(NLMSG_DONE, 2, 5, &[0; 4])].concat();
    let mut entries = 0;
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << bit;
            entries += crate::fuzzing::told(&damaged);
        }
        crate::fuzzing::told(&whole[..place]);
    }
    assert!(entries > 0);
}

#[test]
fn the_kernel_is_asked_for_one_address_or_for_all() {
    assert_eq!(super::entries(Which::All, 1).len(), HEADER + NETFILTER);
    let from = super::entries(Which::From([10, 1, 0, 2].into()), 1);
    let tuple = attribute(CTA_IP_V4_SRC, &[10, 1, 0, 2]);
    let tuple = attribute(CTA_TUPLE_ORIG | NESTED, &attribute(CTA_TUPLE_IP | NESTED, &tuple));
    assert_eq!(from[HEADER..HEADER + NETFILTER + tuple.len()], [&[AF_INET, 0, 0, 0][..], &tuple].concat());
    let to = super::entries(Which::To("fd00::1".parse().unwrap()), 1);
    assert_eq!((to[HEADER], to.len()), (AF_INET6, HEADER + NETFILTER + 4 + 4 + 20 + 4 + 8 + 8));
}
