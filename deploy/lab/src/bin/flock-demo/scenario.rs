//! What the demo shows, written down by hand: the pods, the policies in words and in YAML, and which flow passes
//! at each stage. Nothing here is computed from the policies; that is the point.

use flock_lab::Protocol;

/// A pod and where it is.
pub(crate) struct PodPlan {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) node: &'static str,
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
    /// The pod's ports: name, protocol, number.
    pub(crate) ports: &'static [(&'static str, Protocol, u16)],
}

/// The two nodes.
pub(crate) const NODES: [&str; 2] = ["node-a", "node-b"];

/// The addresses that their pods get. The intruder's is of none of them, as with a CNI that has pools of its own.
pub(crate) const BLOCKS: [&str; 2] = ["[10.10.1.0/24, 'fd00:10:1::/64']", "[10.10.2.0/24, 'fd00:10:2::/64']"];

/// The six pods, in the order of the matrix's rows.
pub(crate) const PODS: [PodPlan; 6] = [
    PodPlan {
        namespace: "edge",
        name: "gateway",
        node: "node-a",
        v4: "10.10.1.2",
        v6: "fd00:10:1::2",
        ports: &[("https", Protocol::Tcp, 443)],
    },
    PodPlan {
        namespace: "shop",
        name: "frontend",
        node: "node-a",
        v4: "10.10.1.3",
        v6: "fd00:10:1::3",
        ports: &[("web", Protocol::Tcp, 80)],
    },
    PodPlan {
        namespace: "shop",
        name: "api",
        node: "node-a",
        v4: "10.10.1.4",
        v6: "fd00:10:1::4",
        ports: &[("http", Protocol::Tcp, 8080), ("metrics", Protocol::Tcp, 9100)],
    },
    PodPlan {
        namespace: "shop",
        name: "database",
        node: "node-b",
        v4: "10.10.2.2",
        v6: "fd00:10:2::2",
        ports: &[("sql", Protocol::Tcp, 5432)],
    },
    PodPlan {
        namespace: "monitoring",
        name: "monitor",
        node: "node-b",
        v4: "10.10.2.3",
        v6: "fd00:10:2::3",
        ports: &[("statsd", Protocol::Udp, 8125)],
    },
    PodPlan {
        namespace: "guests",
        name: "intruder",
        node: "node-b",
        v4: "10.10.9.2",
        v6: "fd00:10:9::2",
        ports: &[("chat", Protocol::Sctp, 999)],
    },
];

/// A policy: what it is called, what it says.
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    pub(crate) words: &'static str,
    pub(crate) yaml: &'static str,
}

/// All policies, in the order they are told.
pub(crate) const POLICIES: [Policy; 6] = [
    Policy {
        name: "shop/default-deny",
        words: "nothing in, nothing out, except as follows",
        yaml: include_str!("policies/default-deny.yaml"),
    },
    Policy {
        name: "shop/frontend",
        words: "in: edge, TCP 80 · out: api, port \"http\"",
        yaml: include_str!("policies/frontend.yaml"),
    },
    Policy {
        name: "shop/api",
        words: "in: frontend, port \"http\"; monitoring, port \"metrics\"\nout: database, TCP 5432; monitoring, UDP 8125",
        yaml: include_str!("policies/api.yaml"),
    },
    Policy {
        name: "shop/database",
        words: "in: api, TCP 5432",
        yaml: include_str!("policies/database.yaml"),
    },
    Policy {
        name: "monitoring/monitor",
        words: "in: UDP 8125 from 10.10.0.0/16 except 10.10.9.0/24 (guests),\nand the same in IPv6",
        yaml: include_str!("policies/monitor.yaml"),
    },
    Policy {
        name: "edge/gateway",
        words: "in: TCP 443 from anywhere",
        yaml: include_str!("policies/gateway.yaml"),
    },
];

/// What is said of namespaces without a policy.
pub(crate) const UNPOLICED: (&str, &str) = ("guests", "has no policy: open to whoever may send there");

/// The pod that starts in the end: one more of the api.
pub(crate) const NEWCOMER: PodPlan = PodPlan {
    namespace: "shop",
    name: "api-2",
    node: "node-a",
    v4: "10.10.1.9",
    v6: "fd00:10:1::9",
    ports: &[("http", Protocol::Tcp, 8080)],
};
/// See [`NEWCOMER`].
pub(crate) const NEWCOMER_APP: &str = "api";
/// Where it may connect, and where not, though that lets in everybody: target, port.
pub(crate) const NEWCOMER_MAY: (&str, u16) = ("database", 5432);
/// See [`NEWCOMER_MAY`].
pub(crate) const NEWCOMER_MAY_NOT: (&str, u16) = ("gateway", 443);

/// The edit: these lines, which occur once among the policies, are replaced.
pub(crate) struct Edit {
    pub(crate) words: &'static str,
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
}

/// From then on the gateway calls the api itself, and the frontend must not.
pub(crate) const EDIT: Edit = Edit {
    words: "shop/api now lets in the gateway instead of the frontend",
    before: "    - podSelector:\n        matchLabels: {app: frontend}\n",
    after: "    - namespaceSelector:\n        matchLabels: {kubernetes.io/metadata.name: edge}\n",
};

/// Which flows pass: a row per source, a column per port of a target, `y` passes, `.` is dropped, `-` is the pod
/// itself. Both families alike.
pub(crate) type Expected = [&'static str; 6];

/// Without policies everything passes.
pub(crate) const OPEN: Expected = [
    // gateway frontend api:http api:metrics database monitor intruder
    "- y y y y y y", // gateway
    "y - y y y y y", // frontend
    "y y - - y y y", // api
    "y y y y - y y", // database
    "y y y y y - y", // monitor
    "y y y y y y -", // intruder
];

/// With the policies.
pub(crate) const GUARDED: Expected = [
    // gateway frontend api:http api:metrics database monitor intruder
    "- y . . . y y", // gateway: its egress is free, so the targets decide
    ". - y . . . .", // frontend: may send to the api's "http" only
    ". . - - y y .", // api: may send to database and monitor only
    ". . . . - . .", // database: may send nowhere
    "y . . y . - y", // monitor: free to send; the api lets it in at "metrics" only
    "y . . . . . -", // intruder: free to send; the gateway alone is open to all, monitor excepts its addresses
];

/// After the edit: gateway to api opens, frontend to api closes.
pub(crate) const EDITED: Expected = [
    // gateway frontend api:http api:metrics database monitor intruder
    "- y y . . y y", // gateway: the api lets it in now
    ". - . . . . .", // frontend: may still send to the api, which no longer lets it in
    ". . - - y y .", // api
    ". . . . - . .", // database
    "y . . y . - y", // monitor
    "y . . . . . -", // intruder
];

/// The flow that the edit opens and the one that it closes: source, target, port.
pub(crate) const OPENED: (&str, &str, u16) = ("gateway", "api", 8080);
/// See [`OPENED`].
pub(crate) const CLOSED: (&str, &str, u16) = ("frontend", "api", 8080);

/// A column of the matrix: a target and one of its ports.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    pub(crate) pod: &'static PodPlan,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// All columns, left to right.
pub(crate) fn columns() -> Vec<Column> {
    static ALL: [PodPlan; 6] = PODS;
    let of = |pod: &'static PodPlan| {
        pod.ports.iter().map(move |&(_, protocol, port)| Column { pod, protocol, port })
    };
    ALL.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_a_letter_per_cell() {
        for table in [OPEN, GUARDED, EDITED] {
            for (row, pod) in table.iter().zip(&PODS) {
                let letters: Vec<_> = row.split(' ').collect();
                assert_eq!(letters.len(), columns().len(), "{row}");
                for (letter, column) in letters.iter().zip(columns()) {
                    assert_eq!(*letter == "-", column.pod.name == pod.name, "{row}");
                }
            }
        }
    }

    #[test]
    fn the_edit_applies_in_one_place() {
        let found: usize = POLICIES.iter().map(|policy| policy.yaml.matches(EDIT.before).count()).sum();
        assert_eq!(found, 1);
    }
}
