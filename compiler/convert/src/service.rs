//! `v1.Service`: read where it is asked about, and by no compiler.

use flock_compiler_core::Selector;
use flock_compiler_core::object::{Service, ServicePort, TargetPort};
use flock_shared::ObjectKey;
use serde_json::Value;

use super::field::{Faults, Field};
use super::policy_port::{port_name, protocol};
use super::selector::equalities;
use super::{ConvertError, Converter, metadata, usable};

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
        let service = spec.map_or(Service { selector: None, ports: Vec::new() }, |spec| Service {
            selector: selector(&spec, &mut fatal),
            ports: ports(&spec, &mut fatal),
        });
        usable("Service", value, key.map(|key| (key, service)), fatal)
    }
}

/// The selector; one without conditions is none, and what is an alias of a name looks at none.
fn selector(spec: &Field<'_>, fatal: &mut Faults) -> Option<Selector> {
    let is_alias = spec.get("type").is_some_and(|kind| kind.as_text() == Some("ExternalName"));
    let conditions = equalities(&spec.get("selector").filter(|_| !is_alias)?, fatal);
    (!conditions.is_empty()).then(|| conditions.into_iter().collect())
}

fn ports(spec: &Field<'_>, fatal: &mut Faults) -> Vec<ServicePort> {
    let Some(listed) = spec.get("ports") else { return Vec::new() };
    // Clients of a headless Service connect to its pods, at the port that they know.
    let is_headless = spec.get("clusterIP").is_some_and(|address| address.as_text() == Some("None"));
    listed.items(fatal).filter_map(|item| port(&item, is_headless, fatal)).collect()
}

fn port(item: &Field<'_>, is_headless: bool, fatal: &mut Faults) -> Option<ServicePort> {
    item.object(fatal)?;
    let protocol = protocol(item, fatal);
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
    let target = if is_headless { TargetPort::Number(port) } else { target };
    Some(ServicePort { protocol: protocol?, port, target })
}

fn target_port(field: &Field<'_>, fatal: &mut Faults) -> Option<TargetPort> {
    if field.is_text() {
        field.parsed(fatal, port_name).map(TargetPort::Named)
    } else {
        field.port(fatal).map(TargetPort::Number)
    }
}
