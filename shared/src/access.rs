//! The names by which the compiler, those who ask it and the manifests in `deploy/kubernetes` find and trust each
//! other, unless options say otherwise.

/// The audience of tokens for the compiler: a token for it is of no use to the API server, and the other way round.
pub const AUDIENCE: &str = "flock-netpol";

/// The API group of the resources below. They are virtual: no object of them exists, roles name them.
pub const API_GROUP: &str = "flock.netpol";

/// What a node should have and has: its status, its script, its output. Cluster-wide, named as the node.
pub const NODE_SCRIPTS: &str = "nodescripts";

/// What policies come to and what is wrong with them. In the namespace of the policies.
pub const POLICY_EXPLANATIONS: &str = "policyexplanations";

/// Flows that policies have dropped. In the namespace of either end.
pub const POLICY_DROPS: &str = "policydrops";

/// The namespace of the compiler.
pub const NAMESPACE: &str = "flock-system";

/// The Service of the compiler; also the value of the label `app.kubernetes.io/name` on its pods.
pub const SERVICE: &str = "flock-compiler";

/// The port of gRPC, of the Service and of the pods.
pub const PORT: u16 = 7443;

/// The ConfigMap that holds the certificates of the compiler's authorities, PEM, under [`CA_KEY`].
pub const CA_CONFIG_MAP: &str = "flock-compiler-ca";

/// See [`CA_CONFIG_MAP`].
pub const CA_KEY: &str = "ca.crt";

/// The Secret that holds the compiler's own certificates, beside them its authorities' keys.
pub const TLS_SECRET: &str = "flock-compiler-tls";

/// The ServiceAccount of the node agents.
pub const AGENT_ACCOUNT: &str = "flock-node-agent";

/// The ServiceAccount that debug clients ask tokens for.
pub const CLIENT_ACCOUNT: &str = "flockctl";
