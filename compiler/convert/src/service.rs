//! `v1.Service`, and where the addresses of Services come from (`ServiceCIDR`): read where they are asked about, and by no
//! compiler.

use std::net::IpAddr;

use flock_compiler_core::Selector;
use flock_compiler_core::object::{PortName, Service, ServicePort, TargetPort};
use flock_shared::ObjectKey;
use ipnet::IpNet;
use serde_json::Value;

use super::field::{Faults, Field};
use super::policy_port::{port_name, protocol};
use super::selector::equalities;
use super::{ConvertError, Converter, address, metadata, usable};

impl Converter {
    /// Converts a Service.
    ///
    /// # Errors
    /// If its name, its selector or a port cannot be understood.
    pub fn service(&self, value: &Value) -> Result<(ObjectKey, Service), ConvertError> {
        let mut fatal = self.faults();
        let root = Field::root(value);
        let key = metadata::key(&root, &mut fatal);
        let spec = root.get("spec").filter(|spec| spec.object(&mut fatal).is_some());
        let none = Service { selector: None, addresses: Vec::new(), is_headless: false, ports: Vec::new() };
        let service = spec.map_or(none, |spec| Service {
            selector: selector(&spec, &mut fatal),
            addresses: addresses(&spec, &mut fatal),
            is_headless: spec.get("clusterIP").is_some_and(|address| address.as_text() == Some("None")),
            ports: ports(&spec, &mut fatal),
        });
        usable("Service", value, key.map(|key| (key, service)), fatal)
    }

    /// The blocks of a `ServiceCIDR`.
    ///
    /// # Errors
    /// If one of them is none.
    pub(super) fn service_cidrs(&self, value: &Value) -> Result<Vec<IpNet>, ConvertError> {
        let mut fatal = self.faults();
        let root = Field::root(value);
        let spec = root.get("spec");
        let listed = spec.as_ref().and_then(|spec| spec.get("cidrs"));
        let items = listed.as_ref().map(|listed| listed.items(&mut fatal));
        let items: Vec<Field<'_>> = items.into_iter().flatten().collect();
        let cidrs = items.iter().filter_map(|item| item.parsed(&mut fatal, address::cidr)).collect();
        usable("ServiceCIDR", value, Some(cidrs), fatal)
    }
}

/// The selector; one without conditions is none, and what is an alias of a name looks at none.
fn selector(spec: &Field<'_>, fatal: &mut Faults) -> Option<Selector> {
    let is_alias = spec.get("type").is_some_and(|kind| kind.as_text() == Some("ExternalName"));
    let conditions = equalities(&spec.get("selector").filter(|_| !is_alias)?, fatal);
    (!conditions.is_empty()).then(|| conditions.into_iter().collect())
}

/// Its addresses; "None" of a headless one is none, nor is "", which one that is to be made has.
fn addresses(spec: &Field<'_>, fatal: &mut Faults) -> Vec<IpAddr> {
    let is_address = |field: &Field<'_>| address::ip(field.as_text()?).ok();
    match spec.get("clusterIPs").filter(|listed| !listed.is_empty_list()) {
        Some(listed) => listed.items(fatal).filter_map(|field| is_address(&field)).collect(),
        None => spec.get("clusterIP").and_then(|field| is_address(&field)).into_iter().collect(),
    }
}

fn ports(spec: &Field<'_>, fatal: &mut Faults) -> Vec<ServicePort> {
    let Some(listed) = spec.get("ports") else { return Vec::new() };
    listed.items(fatal).filter_map(|item| port(&item, fatal)).collect()
}

fn port(item: &Field<'_>, fatal: &mut Faults) -> Option<ServicePort> {
    item.object(fatal)?;
    let protocol = protocol(item, fatal);
    let name = item.get("name").filter(|name| !name.is_zero_or_empty());
    // A name that is none is no reason to know nothing of the Service: nobody can ask about it by that.
    let name = name.and_then(|name| name.as_text().filter(|name| is_label(name)).map(PortName::new));
    let Some(port) = item.get("port") else {
        fatal.missing(item, "port", "a port number from 1 to 65535");
        return None;
    };
    let port = port.port(fatal);
    let target = match item.get("targetPort") {
        Some(target) if !target.is_zero_or_empty() => target_port(&target, fatal),
        // The API's default.
        _ => port.map(TargetPort::Number),
    };
    let (port, target) = (port?, target?);
    Some(ServicePort { name, protocol: protocol?, port, target })
}

/// Returns true for what the API lets ports of Services be called (RFC 1123): other than those of pods, they may be long.
fn is_label(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_usual)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn target_port(field: &Field<'_>, fatal: &mut Faults) -> Option<TargetPort> {
    if field.is_text() {
        field.parsed(fatal, port_name).map(TargetPort::Named)
    } else {
        field.port(fatal).map(TargetPort::Number)
    }
}
