//! What may change in the protocol: `proto/released.binpb` is what programs that are out there speak, and whatever is in
//! it stays as it is.
//!
//! **Breaking**, and refused: a message, field, value, service or method of it that is gone; one that has another number,
//! name (JSON and reflection have names), type, cardinality, presence or `oneof`; a method with other messages or streams;
//! a number that it reserves and that is used. **Not breaking**: whatever is added, and comments.
//!
//! What was added is taken up with `BLESS=1 cargo test --workspace --test compatibility`. It is committed with the
//! change of the `.proto`, so that the next one has to keep it. Blessing refuses what is breaking: that is a new package,
//! `flock.netpol.v2`, served beside this one. Before a release, what is in no release may be taken back: restore
//! `released.binpb` of the newest release, and bless.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flock_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::descriptor_proto::ReservedRange;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

/// What is declared, by full name and kind, and how: all that may not change about it.
type Declared = BTreeMap<String, String>;

/// Everything that is declared in the set, and the numbers that messages and enums reserve.
#[derive(Debug, Default)]
struct Surface {
    declared: Declared,
    reserved: BTreeSet<(String, i32)>,
}

impl Surface {
    fn of(set: &FileDescriptorSet) -> Self {
        let mut surface = Self::default();
        // What is imported from Google is not ours to change.
        for file in set.file.iter().filter(|file| file.package().starts_with("flock.")) {
            let package = file.package();
            file.message_type.iter().for_each(|message| surface.message(package, message));
            file.enum_type.iter().for_each(|declared| surface.enumeration(package, declared));
            file.service.iter().for_each(|service| surface.service(package, service));
        }
        surface
    }

    fn declare(&mut self, what: String, how: impl Into<String>) {
        self.declared.insert(what, how.into());
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for field in &message.field {
            self.declare(format!("field {} of {name}", field.number()), shape(message, field));
        }
        for range in &message.reserved_range {
            self.reserved.extend((range.start()..range.end()).map(|number| (name.clone(), number)));
        }
        message.nested_type.iter().for_each(|nested| self.message(&name, nested));
        message.enum_type.iter().for_each(|nested| self.enumeration(&name, nested));
        self.declare(format!("message {name}"), "");
    }

    fn enumeration(&mut self, scope: &str, declared: &EnumDescriptorProto) {
        let name = format!("{scope}.{}", declared.name());
        for value in &declared.value {
            self.declare(format!("value {} of {name}", value.number()), value.name());
        }
        for range in &declared.reserved_range {
            // Of enums, the end is part of it.
            self.reserved.extend((range.start()..=range.end()).map(|number| (name.clone(), number)));
        }
        self.declare(format!("enum {name}"), "");
    }

    fn service(&mut self, scope: &str, service: &ServiceDescriptorProto) {
        let name = format!("{scope}.{}", service.name());
        for method in &service.method {
            let stream = |streams| if streams { "stream " } else { "" };
            let (asks, answers) = (stream(method.client_streaming()), stream(method.server_streaming()));
            let how = format!("{asks}{} -> {answers}{}", method.input_type(), method.output_type());
            self.declare(format!("method {} of {name}", method.name()), how);
        }
        self.declare(format!("service {name}"), "");
    }
}

/// A field but for its number: `optional string error = oneof outcome`.
fn shape(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let group = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
    let label = match (field.label(), field.proto3_optional()) {
        (Label::Repeated, _) => "repeated ",
        (Label::Required, _) => "required ",
        (Label::Optional, true) => "optional ",
        (Label::Optional, false) => "",
    };
    // The `oneof` of an `optional` field is made up.
    let group = group.filter(|_| !field.proto3_optional()).map(|group| format!(" in oneof {}", group.name()));
    let (kind, named) = (field.r#type().as_str_name(), field.type_name());
    format!("{label}{kind} {named} {}{}", field.name(), group.unwrap_or_default())
}

/// What programs that speak `released` would not understand any more, each as a sentence.
fn broken(released: &Surface, today: &Surface) -> Vec<String> {
    let gone = released.declared.iter().filter_map(|(what, how)| match today.declared.get(what) {
        None => Some(format!("{what} is gone: {how}")),
        Some(other) if other != how => Some(format!("{what} was {how:?} and is {other:?}")),
        Some(_) => None,
    });
    let used = released.reserved.iter().filter_map(|(name, number)| {
        let kinds = [format!("field {number} of {name}"), format!("value {number} of {name}")];
        let used = kinds.into_iter().find(|what| today.declared.contains_key(what))?;
        Some(format!("{used} uses a number that was reserved"))
    });
    gone.chain(used).collect()
}

fn today() -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    // Comments and lines are no part of what is spoken.
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    set
}

#[test]
fn what_is_released_is_still_spoken() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("released.binpb");
    let today = today();
    let bytes = std::fs::read(&path).unwrap_or_default();
    let released = FileDescriptorSet::decode(&*bytes).unwrap();
    let broken = broken(&Surface::of(&released), &Surface::of(&today));
    assert_eq!(broken, Vec::<String>::new(), "breaking (proto/tests/compatibility.rs says what to do)");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, today.encode_to_vec()).unwrap();
    } else {
        let how = "something was added: BLESS=1 cargo test --workspace --test compatibility";
        assert!(released == today, "{how}");
    }
}

/// The set with one message, enum or service of node.proto changed.
fn changed(change: impl FnOnce(&mut prost_types::FileDescriptorProto)) -> Vec<String> {
    let mut set = today();
    let released = Surface::of(&set);
    let file = set.file.iter_mut().find(|file| file.name() == "flock/netpol/v1/node.proto").unwrap();
    change(file);
    broken(&released, &Surface::of(&set))
}

fn ack(file: &mut prost_types::FileDescriptorProto) -> &mut DescriptorProto {
    file.message_type.iter_mut().find(|message| message.name() == "Ack").unwrap()
}

#[test]
fn each_kind_of_break_is_seen() {
    let none = changed(|file| {
        let added = FieldDescriptorProto {
            name: Some("added".into()),
            number: Some(99),
            ..FieldDescriptorProto::default()
        };
        ack(file).field.push(added);
    });
    assert_eq!(none, Vec::<String>::new());
    type Change = fn(&mut prost_types::FileDescriptorProto);
    let breaks: [(&str, Change); 11] = [
        ("field 1 of flock.netpol.v1.Ack is gone", |file| drop(ack(file).field.remove(0))),
        ("field 1 of flock.netpol.v1.Ack is gone", |file| ack(file).field[0].number = Some(98)),
        ("field 1 of flock.netpol.v1.Ack was", |file| ack(file).field[0].set_type(Type::Bytes)),
        ("field 1 of flock.netpol.v1.Ack was", |file| ack(file).field[0].set_label(Label::Repeated)),
        ("field 1 of flock.netpol.v1.Ack was", |file| ack(file).field[0].proto3_optional = Some(true)),
        ("field 1 of flock.netpol.v1.Ack was", |file| ack(file).field[0].name = Some("other".into())),
        ("message flock.netpol.v1.Ack is gone", |file| {
            file.message_type.retain(|message| message.name() != "Ack");
        }),
        ("value 1 of flock.netpol.v1.Outcome was", |file| {
            file.enum_type.iter_mut().find(|it| it.name() == "Outcome").unwrap().value[1].name =
                Some("OTHER".into());
        }),
        ("method Attach of flock.netpol.v1.NodeService is gone", |file| {
            file.service[0].method.retain(|method| method.name() != "Attach");
        }),
        ("method Subscribe of flock.netpol.v1.NodeService was", |file| {
            file.service[0].method[0].server_streaming = Some(false);
        }),
        ("service flock.netpol.v1.NodeService is gone", |file| file.service.clear()),
    ];
    for (told, change) in breaks {
        let broken = changed(change);
        assert!(broken.iter().any(|it| it.starts_with(told)), "{told}: {broken:?}");
    }
}

#[test]
fn a_reserved_number_stays_unused() {
    let mut set = today();
    let file = set.file.iter_mut().find(|file| file.name() == "flock/netpol/v1/node.proto").unwrap();
    let number = ack(file).field[0].number();
    ack(file).reserved_range.push(ReservedRange { start: Some(number), end: Some(number + 1) });
    let broken = broken(&Surface::of(&set), &Surface::of(&today()));
    let used = format!("field {number} of flock.netpol.v1.Ack uses a number that was reserved");
    assert_eq!(broken, [used]);
}
