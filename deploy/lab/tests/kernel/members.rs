//! Who lives in the test cluster: ten pods in three namespaces on two nodes, each with an address of either family.

use std::net::IpAddr;

/// The nodes, in order of their creation: their underlay addresses follow from it.
pub(crate) const NODES: [&str; 2] = ["node-a", "node-b"];

/// The namespaces with their labels. `dev` has no `env`.
pub(crate) const NAMESPACES: [(&str, &str); 3] =
    [("shop", "{team: red, env: prod}"), ("bank", "{team: blue, env: prod}"), ("dev", "{team: red}")];

/// A pod of the test cluster.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    /// The node's number: 1 for `node-a`, 2 for `node-b`.
    pub(crate) node: u8,
    /// The last part of both of its addresses.
    pub(crate) number: u8,
    /// `metadata.labels`.
    pub(crate) labels: &'static str,
    /// Containers and init containers, as fields of `spec`.
    pub(crate) containers: &'static str,
    /// `cali` and the start of `printf namespace.name | sha1sum`.
    pub(crate) interface: &'static str,
}

impl Member {
    /// The name of its node.
    pub(crate) const fn node_name(&self) -> &'static str {
        NODES[self.node as usize - 1]
    }

    /// 10.244.NODE.NUMBER and fd00:10:244:NODE::NUMBER.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        let (node, number) = (u16::from(self.node), u16::from(self.number));
        [[10, 244, self.node, self.number].into(), [0xfd00, 0x10, 0x244, node, 0, 0, 0, number].into()]
    }
}

/// Every member; names are unique in the cluster, so that expectations can go by name alone.
///
/// The port that is called `http` differs from pod to pod, and some have none: `cache` has it on a sidecar, and
/// again on an init container that ends; `robot` has it twice; `vault` has it on UDP.
pub(crate) const MEMBERS: [Member; 10] = [
    Member {
        namespace: "shop",
        name: "web",
        node: 1,
        number: 2,
        labels: "{app: web, tier: front}",
        containers: "containers: [{name: main, ports: [{name: http, containerPort: 80}]}]",
        interface: "cali551b05c3e54",
    },
    Member {
        namespace: "shop",
        name: "api",
        node: 1,
        number: 3,
        labels: "{app: api, tier: back}",
        containers: "containers: [{name: main, ports: [{name: http, containerPort: 8080, protocol: TCP}]}]",
        interface: "cali50d8cbfc60a",
    },
    Member {
        namespace: "shop",
        name: "db",
        node: 2,
        number: 2,
        labels: "{app: db, tier: back}",
        containers: "containers: [{name: main, ports: [{name: data, containerPort: 80, protocol: SCTP}]}]",
        interface: "cali2d7243dcff6",
    },
    Member {
        namespace: "shop",
        name: "cache",
        node: 2,
        number: 3,
        labels: "{app: cache}",
        containers: "containers: [{name: main}], initContainers: [\
                     {name: proxy, restartPolicy: Always, ports: [{name: http, containerPort: 8080}]}, \
                     {name: setup, ports: [{name: http, containerPort: 80}]}]",
        interface: "cali830b79eb57d",
    },
    Member {
        namespace: "bank",
        name: "teller",
        node: 1,
        number: 4,
        labels: "{app: web, tier: front}",
        containers: "containers: [{name: main, ports: [{name: http, containerPort: 80}]}]",
        interface: "cali79546574fe9",
    },
    Member {
        namespace: "bank",
        name: "vault",
        node: 2,
        number: 4,
        labels: "{app: db, tier: back}",
        containers: "containers: [{name: main, ports: [{name: http, containerPort: 80, protocol: UDP}]}]",
        interface: "calibc9d09d45cd",
    },
    Member {
        namespace: "bank",
        name: "audit",
        node: 1,
        number: 5,
        labels: "{}",
        containers: "containers: [{name: main}]",
        interface: "calic9992c81aeb",
    },
    Member {
        namespace: "dev",
        name: "laptop",
        node: 1,
        number: 6,
        labels: "{app: web}",
        containers: "containers: [{name: main, ports: [{name: http, containerPort: 8080}]}]",
        interface: "calib390288081b",
    },
    Member {
        namespace: "dev",
        name: "robot",
        node: 2,
        number: 5,
        labels: "{app: robot, tier: front}",
        containers: "containers: [{name: main, ports: [{name: http, containerPort: 80}]}, \
                     {name: admin, ports: [{name: http, containerPort: 8080}]}]",
        interface: "cali69556fcde82",
    },
    Member {
        namespace: "dev",
        name: "probe",
        node: 2,
        number: 6,
        labels: "{app: api, tier: test}",
        containers: "containers: [{name: main, ports: [{name: dns, containerPort: 80, protocol: UDP}]}]",
        interface: "cali39bd0cb22c7",
    },
];

/// The member of this name.
pub(crate) fn member(name: &str) -> &'static Member {
    MEMBERS.iter().find(|member| member.name == name).unwrap_or_else(|| panic!("no member {name}"))
}
