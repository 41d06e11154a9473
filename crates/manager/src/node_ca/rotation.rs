//! Carries the nodes over to a new root: tells them to renew, and ends the rotation when all have.
//!
//! ```text
//!   rotation in the cluster ──> nodes without a certificate of the new root: state ROTATE, a batch at a time
//!                               each renews, and tells whose certificate it has
//!                           ──> all have: the new root replaces the old one, with new join tokens
//! ```
//!
//! Nodes that are away hold a rotation up until they come back or are removed: they would not trust anybody afterwards.
//! Mirrors SwarmKit's `rootRotationReconciler`. [`step`] decides; what it reads is the store alone, so that a new leader
//! goes on where the old one was.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use swarm_ca::{CaError, Issuer, JoinToken, RootCa};
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::{
    Cluster, IssuanceStatus, JoinTokens, Node, RootCa as RootCaObject, RootRotation,
};
use swarm_store::{Error, Kind, Store, Tables};
use tracing::{debug, info, warn};

/// So many nodes renew at once, so that the leader signs for others meanwhile.
const BATCH_MAX: usize = 100;
/// A node that has not told of a new certificate for so long is told once more.
const REPEAT_INTERVAL: Duration = Duration::from_secs(3);
/// The pause between two looks at the nodes during a rotation.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Ends rotations while this manager leads.
pub struct Rotator {
    store: Store,
    /// When which node was told to renew.
    told: HashMap<String, Instant>,
}

/// What a rotation needs next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is none.
    Nothing,
    /// These nodes are to be told, as far as there are any; then wait.
    Tell(Vec<String>),
    /// All nodes have a certificate of the new root.
    Finish(Box<RootRotation>),
}

impl Rotator {
    /// A rotator over this store.
    pub fn new(store: Store) -> Self {
        Self { store, told: HashMap::new() }
    }

    /// Works until the future is dropped, or the store no longer leads.
    pub async fn run(mut self) {
        let (mut tables, mut watch) = self.store.view_and_watch(&[Kind::Node, Kind::Cluster]);
        loop {
            let is_due =
                |id: &str| self.told.get(id).is_none_or(|told| told.elapsed() >= REPEAT_INTERVAL);
            let outcome = match step(&tables, is_due) {
                Step::Nothing => {
                    self.told.clear();
                    watch.next().await;
                    // Not the commit's own tables: there may be commits behind it that were looked at already.
                    tables = self.store.view();
                    continue;
                }
                Step::Tell(nodes) => self.tell(nodes).await,
                Step::Finish(rotation) => self.finish(&rotation).await,
            };
            match outcome {
                Err(Error::NotLeader | Error::LeadershipLost) => break,
                Err(error) => warn!(%error, "the rotation of the root CA cannot go on"),
                Ok(()) => {}
            }
            // A node's report is a commit; who does not report is told again.
            let _ = tokio::time::timeout(REPEAT_INTERVAL, watch.next()).await;
            // Reports of many nodes are looked at together.
            tokio::time::sleep(LOOK_INTERVAL).await;
            tables = self.store.view();
        }
    }

    async fn tell(&mut self, nodes: Vec<String>) -> Result<(), Error> {
        if nodes.is_empty() {
            return Ok(());
        }
        debug!(nodes = nodes.len(), "nodes are told to renew their certificates");
        let now = Instant::now();
        self.told.extend(nodes.iter().map(|id| (id.clone(), now)));
        self.store
            .update(|transaction| {
                let root = transaction.cluster().and_then(|cluster| cluster.root_ca.as_ref());
                let root = root.filter(|root| root.root_rotation.is_some());
                let Some(issuer) = root.and_then(|root| Issuer::wanted(root).ok()) else {
                    return Ok(());
                };
                for id in &nodes {
                    let node = transaction.get::<Node>(id);
                    let Some(node) = node.filter(|node| is_settled(node) && !issuer.is_of(node))
                    else {
                        continue;
                    };
                    let mut node = Node::clone(node);
                    let certificate = node.certificate.get_or_insert_default();
                    certificate.status =
                        Some(IssuanceStatus { state: State::Rotate.into(), err: String::new() });
                    transaction.update(node)?;
                }
                Ok(())
            })
            .await
    }

    async fn finish(&mut self, rotation: &RootRotation) -> Result<(), Error> {
        let root = match finished_root(rotation) {
            Ok(root) => root,
            Err(error) => {
                warn!(%error, "the new root CA cannot be used");
                return Ok(());
            }
        };
        let is_done = self
            .store
            .update(|transaction| {
                let Some(cluster) = transaction.cluster() else { return Ok(false) };
                let present = cluster.root_ca.as_ref();
                if present.and_then(|root| root.root_rotation.as_ref()) != Some(rotation) {
                    return Ok(false);
                }
                let last_forced_rotation = present.map_or(0, |root| root.last_forced_rotation);
                let root = RootCaObject { last_forced_rotation, ..root.clone() };
                transaction.update(Cluster { root_ca: Some(root), ..Cluster::clone(cluster) })?;
                Ok::<_, Error>(true)
            })
            .await?;
        if is_done {
            info!("the root CA was rotated");
        }
        Ok(())
    }
}

/// What is next; `is_due` tells of which nodes it is time to tell, perhaps again.
fn step(tables: &Tables, is_due: impl Fn(&str) -> bool) -> Step {
    let root = tables.cluster().and_then(|cluster| cluster.root_ca.as_ref());
    let Some((root, rotation)) = root.and_then(|r| Some((r, r.root_rotation.as_ref()?))) else {
        return Step::Nothing;
    };
    let Ok(issuer) = Issuer::wanted(root) else { return Step::Tell(Vec::new()) };
    let behind: Vec<_> = tables.iter::<Node>().filter(|node| !issuer.is_of(node)).collect();
    if behind.is_empty() {
        return Step::Finish(Box::new(rotation.clone()));
    }
    let due = behind.into_iter().filter(|node| is_settled(node) && is_due(&node.id));
    Step::Tell(due.take(BATCH_MAX).map(|node| node.id.clone()).collect())
}

/// Whether a node waits for no certificate, and was not told to renew.
fn is_settled(node: &Node) -> bool {
    let status = node.certificate.as_ref().and_then(|certificate| certificate.status.as_ref());
    !matches!(
        status.map(IssuanceStatus::state),
        Some(State::Renew | State::Pending | State::Rotate)
    )
}

/// The root when its rotation is over.
fn finished_root(rotation: &RootRotation) -> Result<RootCaObject, CaError> {
    let digest = RootCa::of_rotation(rotation)?.digest();
    Ok(RootCaObject {
        ca_cert: rotation.ca_cert.clone(),
        ca_key: rotation.ca_key.clone(),
        ca_cert_hash: format!("sha256:{}", digest.to_hex()),
        join_tokens: Some(JoinTokens {
            worker: JoinToken::generate(digest).to_string(),
            manager: JoinToken::generate(digest).to_string(),
        }),
        root_rotation: None,
        last_forced_rotation: 0,
    })
}
