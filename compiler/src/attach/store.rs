//! Where the sandboxes of nodes are written down: in objects of the API server, or, where manifests are followed, in this
//! process.

use std::collections::BTreeMap;

use flock_shared::NodeName;
use kube::Client;
use kube::api::PostParams;
use kube::core::Request;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::record::Record;
use crate::engine::EngineHandle;

/// Where the objects are.
const PATH: &str = "/apis/flock.netpol/v1alpha1/nodepods";

/// `apiVersion` of the objects.
const API_VERSION: &str = "flock.netpol/v1alpha1";

/// Where sandboxes are written down.
#[derive(Debug)]
pub enum Store {
    /// `NodePods` of the API server.
    Cluster(Box<Cluster>),
    /// The memory of this process, and the world.
    Memory(Memory),
}

/// The API server.
pub struct Cluster(Client);

/// Records in memory.
#[derive(Debug)]
pub struct Memory {
    records: Mutex<BTreeMap<NodeName, Record>>,
    engine: EngineHandle,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another replica has written it meanwhile.
    #[error("another replica has written it")]
    Conflict,
    /// The cluster has no such kind, or this compiler has no right to it.
    #[error("NodePods cannot be written: {0}")]
    Absent(String),
    /// The object is not what the API server takes.
    #[error("the API server takes it not: {0}")]
    Invalid(String),
    /// The API server cannot be asked.
    #[error("the API server cannot be asked")]
    Unreachable(#[source] Box<kube::Error>),
}

/// A record as it was read, with what it takes to write it back.
#[derive(Debug, Clone)]
pub(super) struct StoredRecord {
    pub(super) record: Record,
    /// The object that it came from, with its version; `None`: there is none yet.
    object: Option<Value>,
}

impl Store {
    /// The API server behind `client`.
    #[must_use]
    pub fn cluster(client: Client) -> Self {
        Self::Cluster(Box::new(Cluster(client)))
    }

    /// The memory of this process, from which `engine` hears of it.
    #[must_use]
    pub fn memory(engine: EngineHandle) -> Self {
        Self::Memory(Memory { records: Mutex::default(), engine })
    }

    /// What is written down of a node.
    pub(super) async fn read(&self, node: &NodeName) -> Result<StoredRecord, StoreError> {
        match self {
            Self::Cluster(cluster) => {
                let object = cluster.get(&path(node)).await?;
                let record = object.as_ref().map(Record::of).unwrap_or_default();
                Ok(StoredRecord { record, object })
            }
            Self::Memory(memory) => {
                let records = memory.records.lock();
                Ok(StoredRecord { record: records.get(node).cloned().unwrap_or_default(), object: None })
            }
        }
    }

    /// Writes `record` over what was read, unless somebody else has; what is written down then.
    pub(super) async fn write(
        &self,
        node: &NodeName,
        held: &StoredRecord,
        record: Record,
    ) -> Result<StoredRecord, StoreError> {
        match self {
            Self::Cluster(cluster) => {
                let object = cluster.write(node, held.object.clone(), &record).await?;
                Ok(StoredRecord { record, object: Some(object) })
            }
            Self::Memory(memory) => {
                let object = record.object(node.clone());
                memory.records.lock().insert(node.clone(), record.clone());
                // An engine that has stopped ends the process.
                let _ = memory.engine.attached(object).await;
                Ok(StoredRecord { record, object: None })
            }
        }
    }
}

impl Cluster {
    async fn get(&self, path: &str) -> Result<Option<Value>, StoreError> {
        let request = http::Request::get(path).body(Vec::new()).map_err(built)?;
        match self.0.request::<Value>(request).await {
            Ok(object) => Ok(Some(object)),
            // The kind may be missing as well, which the attempt to make an object will tell.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(fault(error)),
        }
    }

    async fn write(
        &self,
        node: &NodeName,
        object: Option<Value>,
        record: &Record,
    ) -> Result<Value, StoreError> {
        let (name, parameters) = (node.as_str(), PostParams::default());
        let request = match object {
            Some(mut object) => {
                record.write_into(&mut object);
                Request::new(PATH).replace(name, &parameters, object.to_string().into_bytes())
            }
            None => {
                let mut object = json!({
                    "apiVersion": API_VERSION,
                    "kind": "NodePods",
                    "metadata": { "name": name, "ownerReferences": self.owner(name).await? },
                });
                record.write_into(&mut object);
                Request::new(PATH).create(&parameters, object.to_string().into_bytes())
            }
        };
        let request = request.map_err(|error| fault(kube::Error::BuildRequest(error)))?;
        self.0.request::<Value>(request).await.map_err(fault)
    }

    /// The Node, with which its object goes; nothing of a node without one.
    async fn owner(&self, name: &str) -> Result<Value, StoreError> {
        let node = self.get(&format!("/api/v1/nodes/{name}")).await?;
        let uid = node.as_ref().and_then(|node| node.pointer("/metadata/uid")).and_then(Value::as_str);
        let owner = uid.map(|uid| json!({ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }));
        Ok(owner.into_iter().collect())
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

fn path(node: &NodeName) -> String {
    // A name of a node is of letters, digits, dots and dashes.
    format!("{PATH}/{node}")
}

fn built(error: http::Error) -> StoreError {
    StoreError::Unreachable(Box::new(kube::Error::HttpError(error)))
}

fn fault(error: kube::Error) -> StoreError {
    match error {
        kube::Error::Api(status) => match status.code {
            409 => StoreError::Conflict,
            403..=405 => StoreError::Absent(status.message.clone()),
            400 | 413 | 422 => StoreError::Invalid(status.message.clone()),
            // Too many requests, or the server's own trouble: that passes, and the write is tried again.
            _ => StoreError::Unreachable(Box::new(kube::Error::Api(status))),
        },
        error => StoreError::Unreachable(Box::new(error)),
    }
}
