//! Who takes part, and what passes between them where nothing forbids it. Pure.
//!
//! ```text
//! namespace x:  web (first node)   TCP 8080 "http", TCP 8081 "admin", UDP 8080
//!               api (second node)  TCP 9090 "http", TCP 8081 "admin"
//!               client (first node)
//! namespace y:  client (second node)
//! ```

use serde_json::{Value, json};

/// What the label of everything that is made is called; its value is the run.
pub(crate) const LABEL: &str = "flock.netpol/e2e";

/// A pod of the cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Web,
    Api,
    Client,
    Other,
}

/// The protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Who {
    pub(crate) const ALL: [Self; 4] = [Self::Web, Self::Api, Self::Client, Self::Other];

    /// The short name of its namespace.
    pub(crate) const fn namespace(self) -> &'static str {
        match self {
            Self::Web | Self::Api | Self::Client => "x",
            Self::Other => "y",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Api => "api",
            Self::Client | Self::Other => "client",
        }
    }

    /// Its node: the first or the second.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Web | Self::Client => 0,
            Self::Api | Self::Other => 1,
        }
    }

    /// What it serves, with the ports' names.
    pub(crate) const fn serves(self) -> &'static [(&'static str, Protocol, u16)] {
        match self {
            Self::Web => &[
                ("http", Protocol::Tcp, 8080),
                ("admin", Protocol::Tcp, 8081),
                ("query", Protocol::Udp, 8080),
            ],
            Self::Api => &[("http", Protocol::Tcp, 9090), ("admin", Protocol::Tcp, 8081)],
            Self::Client | Self::Other => &[],
        }
    }
}

/// Something that one pod sends another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) from: Who,
    pub(crate) to: Who,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

const fn flow(from: Who, to: Who, protocol: Protocol, port: u16) -> Flow {
    Flow { from, to, protocol, port }
}

pub(crate) const CLIENT_WEB: Flow = flow(Who::Client, Who::Web, Protocol::Tcp, 8080);
pub(crate) const CLIENT_WEB_ADMIN: Flow = flow(Who::Client, Who::Web, Protocol::Tcp, 8081);
pub(crate) const CLIENT_WEB_UDP: Flow = flow(Who::Client, Who::Web, Protocol::Udp, 8080);
pub(crate) const CLIENT_API: Flow = flow(Who::Client, Who::Api, Protocol::Tcp, 9090);
pub(crate) const CLIENT_API_ADMIN: Flow = flow(Who::Client, Who::Api, Protocol::Tcp, 8081);
pub(crate) const OTHER_WEB: Flow = flow(Who::Other, Who::Web, Protocol::Tcp, 8080);
pub(crate) const OTHER_WEB_UDP: Flow = flow(Who::Other, Who::Web, Protocol::Udp, 8080);
pub(crate) const OTHER_API: Flow = flow(Who::Other, Who::Api, Protocol::Tcp, 9090);
pub(crate) const API_WEB: Flow = flow(Who::Api, Who::Web, Protocol::Tcp, 8080);

/// All that is tried in every check: on one node and between two, in one namespace and between two.
pub(crate) const FLOWS: [Flow; 9] = [
    CLIENT_WEB,
    CLIENT_WEB_ADMIN,
    CLIENT_WEB_UDP,
    CLIENT_API,
    CLIENT_API_ADMIN,
    OTHER_WEB,
    OTHER_WEB_UDP,
    OTHER_API,
    API_WEB,
];

/// What all objects of a run have in common.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Tells it from other runs; part of the names of its namespaces.
    pub(crate) id: String,
    pub(crate) image: String,
    /// One or two.
    pub(crate) nodes: Vec<String>,
}

impl Run {
    /// The namespace that is called so in short.
    pub(crate) fn namespace(&self, short: &str) -> String {
        format!("flock-e2e-{}-{short}", self.id)
    }

    pub(crate) fn namespace_object(&self, short: &str) -> Value {
        let labels =
            json!({ (LABEL): self.id, "team": short, "pod-security.kubernetes.io/enforce": "restricted" });
        json!({ "metadata": { "name": self.namespace(short), "labels": labels } })
    }

    /// A pod of the cast.
    pub(crate) fn pod(&self, who: Who) -> Value {
        let container = |name: &str, arguments: Vec<String>, ports: Vec<Value>| {
            let mut container = self.container(name, &arguments);
            container["ports"] = ports.into();
            if let Some(port) = container.pointer("/ports/0/containerPort").cloned() {
                // By TCP, as soon as one can: a kubelet's word for what the node reaches.
                container["readinessProbe"] =
                    json!({ "tcpSocket": { "port": port }, "periodSeconds": 1, "failureThreshold": 1 });
            }
            container
        };
        let mut containers: Vec<Value> = Vec::new();
        for &(name, protocol, port) in
            who.serves().iter().filter(|(_, protocol, _)| *protocol == Protocol::Tcp)
        {
            let udp = who.serves().iter().find(|(_, other, number)| *other != protocol && *number == port);
            let mut ports = vec![json!({ "name": name, "containerPort": port, "protocol": "TCP" })];
            ports.extend(
                udp.map(|(name, ..)| json!({ "name": name, "containerPort": port, "protocol": "UDP" })),
            );
            let udp_port = if udp.is_some() { i32::from(port) } else { -1 };
            let arguments =
                vec!["netexec".into(), format!("--http-port={port}"), format!("--udp-port={udp_port}")];
            containers.push(container(name, arguments, ports));
        }
        if containers.is_empty() {
            containers.push(container("pause", vec!["pause".into()], Vec::new()));
        }
        self.pod_of(who.namespace(), who.name(), who.place(), who.name(), &containers, "Always")
    }

    /// A pod that connects as its first act, and whose end tells how that went.
    pub(crate) fn first_act(&self, name: &str, role: &str, to: &str, place: usize) -> Value {
        // A SYN is sent again after a second and after three.
        let arguments = ["connect".into(), "--timeout=4s".into(), "--protocol=tcp".into(), to.to_owned()];
        let containers = vec![self.container("act", &arguments)];
        self.pod_of("x", name, place, role, &containers, "Never")
    }

    fn container(&self, name: &str, arguments: &[String]) -> Value {
        json!({
            "name": name,
            "image": self.image,
            "args": arguments,
            "resources": { "requests": { "cpu": "5m", "memory": "16Mi" } },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
        })
    }

    fn pod_of(
        &self,
        namespace: &str,
        name: &str,
        place: usize,
        role: &str,
        containers: &[Value],
        restart: &str,
    ) -> Value {
        // Past the scheduler: where a pod is, is part of what is checked.
        let node = self.nodes.get(place).or_else(|| self.nodes.first());
        json!({
            "metadata": {
                "name": name,
                "namespace": self.namespace(namespace),
                "labels": { (LABEL): self.id, "role": role },
            },
            "spec": {
                "nodeName": node,
                "containers": containers,
                "restartPolicy": restart,
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 65532,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "tolerations": [{ "operator": "Exists" }],
            },
        })
    }

    /// A policy of namespace x.
    pub(crate) fn policy(&self, name: &str, spec: &Value) -> Value {
        let labels = json!({ (LABEL): self.id });
        json!({ "metadata": { "name": name, "namespace": self.namespace("x"), "labels": labels }, "spec": spec })
    }

    /// A service of web's first port; `address` where nobody else gives it one.
    pub(crate) fn service(&self, address: Option<&str>) -> Value {
        let mut service = json!({
            "metadata": { "name": "web", "namespace": self.namespace("x"), "labels": { (LABEL): self.id } },
            "spec": { "selector": { "role": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
        });
        if let Some(address) = address {
            service["spec"]["clusterIP"] = address.into();
        }
        service
    }
}
