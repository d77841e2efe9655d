//! The wire stays what it was: everything in the committed descriptors is still there, under the same numbers.
//!
//! `KT_UPDATE_DOCS=1 cargo test -p kt-proto --test compatibility` renews `proto/keeptrusts.bin`, when nothing in it is
//! broken. What was never released may be broken on purpose: delete the file first, and say so in the changelog.

use std::{collections::BTreeMap, fs, path::Path};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

#[cfg(test)]
fn current() -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(kt_proto::DESCRIPTORS).unwrap();
    // Words may change.
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    set
}

/// Everything with a name, whatever file it stands in.
#[derive(Default)]
struct Names<'s> {
    messages: BTreeMap<String, &'s DescriptorProto>,
    enums: BTreeMap<String, &'s EnumDescriptorProto>,
    services: BTreeMap<String, &'s ServiceDescriptorProto>,
}

impl<'s> Names<'s> {
    fn of(set: &'s FileDescriptorSet) -> Self {
        let mut names = Self::default();
        for file in &set.file {
            let package = file.package();
            file.message_type.iter().for_each(|message| names.message(package, message));
            for listed in &file.enum_type {
                names.enums.insert(format!("{package}.{}", listed.name()), listed);
            }
            for service in &file.service {
                names.services.insert(format!("{package}.{}", service.name()), service);
            }
        }
        names
    }

    fn message(&mut self, within: &str, message: &'s DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        message.nested_type.iter().for_each(|nested| self.message(&name, nested));
        for listed in &message.enum_type {
            self.enums.insert(format!("{name}.{}", listed.name()), listed);
        }
        self.messages.insert(name, message);
    }
}

/// What a peer of the old descriptors would stumble over.
fn breaks(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (Names::of(old), Names::of(new));
    let mut found = Vec::new();
    for (name, was) in &old.messages {
        let Some(is) = new.messages.get(name) else {
            found.push(format!("message {name} is gone"));
            continue;
        };
        for field in &was.field {
            match is.field.iter().find(|other| other.number == field.number) {
                None => found.push(format!("{name}: field {} `{}` is gone", field.number(), field.name())),
                Some(other) if shape(was, field) != shape(is, other) => {
                    found.push(format!("{name}: field {} `{}` has changed", field.number(), field.name()));
                }
                Some(_) => {}
            }
        }
    }
    for (name, was) in &old.enums {
        let Some(is) = new.enums.get(name) else {
            found.push(format!("enum {name} is gone"));
            continue;
        };
        for value in &was.value {
            if !is.value.iter().any(|other| (other.number, &other.name) == (value.number, &value.name)) {
                found.push(format!("{name}: {} is gone or has changed", value.name()));
            }
        }
    }
    for (name, was) in &old.services {
        let Some(is) = new.services.get(name) else {
            found.push(format!("service {name} is gone"));
            continue;
        };
        for method in &was.method {
            if !is.method.iter().any(|other| {
                other.name == method.name
                    && other.input_type == method.input_type
                    && other.output_type == method.output_type
                    && other.client_streaming() == method.client_streaming()
                    && other.server_streaming() == method.server_streaming()
            }) {
                found.push(format!("{name}: method {} is gone or has changed", method.name()));
            }
        }
    }
    found
}

/// What must stay of a field. Its name too: it is the key in JSON, and what `grpcurl` users type.
fn shape(message: &DescriptorProto, field: &FieldDescriptorProto) -> impl PartialEq + use<> {
    let oneof = field
        .oneof_index
        .filter(|_| !field.proto3_optional())
        .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
        .map(|oneof| oneof.name().to_owned());
    (field.name.clone(), field.r#type, field.label, field.type_name.clone(), field.proto3_optional(), oneof)
}

#[test]
fn nothing_that_was_committed_is_gone_or_has_changed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("keeptrusts.bin");
    let is_update = std::env::var_os("KT_UPDATE_DOCS").is_some();
    let committed = match fs::read(&path) {
        Err(error) if is_update && error.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(FileDescriptorSet::decode(&*read.unwrap()).unwrap()),
    };
    let current = current();
    if let Some(committed) = &committed {
        let breaks = breaks(committed, &current);
        assert!(breaks.is_empty(), "peers of the committed descriptors would break:\n{}", breaks.join("\n"));
    }
    if is_update {
        fs::write(&path, current.encode_to_vec()).unwrap();
    } else {
        assert!(committed == Some(current), "`keeptrusts.bin` is stale: run with KT_UPDATE_DOCS=1");
    }
}

#[test]
fn what_would_break_a_peer_is_named() {
    let old = current();
    let change = |change: &dyn Fn(&mut FileDescriptorSet)| {
        let mut new = old.clone();
        change(&mut new);
        breaks(&old, &new)
    };
    let fleet = |set: &mut FileDescriptorSet| {
        set.file.iter().position(|file| file.name() == "keeptrusts/v1/fleet.proto").unwrap()
    };
    assert_eq!(change(&|_| {}), Vec::<String>::new());
    let added = change(&|set| {
        let at = fleet(set);
        let field =
            FieldDescriptorProto { name: Some("later".to_owned()), number: Some(99), ..Default::default() };
        set.file[at].message_type[0].field.push(field);
        set.file[at]
            .message_type
            .push(DescriptorProto { name: Some("Later".to_owned()), ..Default::default() });
    });
    assert_eq!(added, Vec::<String>::new());
    for (what, found) in [
        (
            "a field",
            change(&|set| {
                let at = fleet(set);
                set.file[at].message_type[0].field.remove(0);
            }),
        ),
        (
            "a number",
            change(&|set| {
                let at = fleet(set);
                set.file[at].message_type[0].field[0].number = Some(77);
            }),
        ),
        (
            "a type",
            change(&|set| {
                let at = fleet(set);
                set.file[at].message_type[0].field[0].r#type = Some(3);
            }),
        ),
        (
            "a name",
            change(&|set| {
                let at = fleet(set);
                set.file[at].message_type[0].field[0].name = Some("x".to_owned());
            }),
        ),
        (
            "a message",
            change(&|set| {
                let at = fleet(set);
                set.file[at].message_type.remove(0);
            }),
        ),
        (
            "an enum value",
            change(&|set| {
                let at = fleet(set);
                set.file[at].enum_type[0].value.remove(1);
            }),
        ),
        (
            "a method",
            change(&|set| {
                let at = fleet(set);
                set.file[at].service[0].method.remove(0);
            }),
        ),
        (
            "a stream",
            change(&|set| {
                let at = fleet(set);
                set.file[at].service[0].method[0].server_streaming = Some(true);
            }),
        ),
    ] {
        assert_eq!(found.len(), 1, "{what}: {found:?}");
    }
}
