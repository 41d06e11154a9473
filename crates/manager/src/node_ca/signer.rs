//! The leader's signer: signs every certificate that is pending or to be renewed.

use std::collections::BTreeSet;
use std::time::Duration;

use swarm_ca::{
    CaError, DEFAULT_NODE_CERTIFICATE_EXPIRY, ExternalCa, Identity, Role, RootCa, TlsMaterials,
    normalize_pem,
};
use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::node_spec::Membership;
use swarm_proto::v1::{Certificate, Cluster, IssuanceStatus, Node, RootCa as RootCaObject};
use swarm_store::{Change, Commit, Error, Kind, Store, Tables};
use tracing::{debug, warn};

use crate::control::external_urls;

/// What could not be signed for want of a key, or written, is tried again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Signs for one cluster while this manager leads.
pub struct Signer {
    store: Store,
    cluster_id: String,
    /// What is shown to external CAs.
    materials: TlsMaterials,
    /// The root that was made of the cluster object last, as making it means parsing certificates and a key.
    root: Option<(RootCaObject, RootCa)>,
}

impl Signer {
    /// A signer for the cluster with this ID.
    pub fn new(store: Store, cluster_id: &str, materials: TlsMaterials) -> Self {
        Self { store, cluster_id: cluster_id.to_owned(), materials, root: None }
    }

    /// Signs until the future is dropped, or until the store no longer leads.
    pub async fn run(mut self) {
        let (mut tables, mut watch) = self.store.view_and_watch(&[Kind::Node, Kind::Cluster]);
        let mut waiting = unsigned(&tables);
        loop {
            match self.sign_all(&tables, &mut waiting).await {
                Err(Error::NotLeader | Error::LeadershipLost) => break,
                Err(error) => warn!(%error, "cannot record certificates"),
                Ok(()) => {}
            }
            let next = tokio::time::timeout(RETRY_INTERVAL, watch.next()).await;
            match next {
                Ok(commit) => {
                    note(&commit, &mut waiting);
                    tables = commit.tables;
                }
                Err(_) => waiting = unsigned(&tables),
            }
        }
        debug!("the signer ended with the leadership");
    }

    /// Signs and records what it can of the nodes waiting; keeps those that may be signed later.
    async fn sign_all(
        &mut self,
        tables: &Tables,
        waiting: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let Some(cluster) = tables.cluster() else { return Ok(()) };
        if waiting.is_empty() {
            return Ok(());
        }
        let Some(root) = self.root(cluster) else { return Ok(()) };
        let authority = Authority {
            external: external_ca(cluster, &self.materials).filter(|ca| !ca.is_empty()),
            root,
            expiry: expiry(cluster),
        };
        let mut signed = Vec::new();
        let mut rest = std::mem::take(waiting).into_iter();
        for node_id in rest.by_ref() {
            let Some(certificate) = tables
                .get::<Node>(&node_id)
                .filter(|node| is_unsigned(node))
                .and_then(|node| node.certificate.clone())
            else {
                continue;
            };
            match self.sign(&authority, &certificate).await {
                Some(done) => signed.push((node_id, certificate.csr, done)),
                None => {
                    // Who cannot sign for one node cannot for the others; an external CA would be waited for each time.
                    waiting.insert(node_id);
                    break;
                }
            }
        }
        waiting.extend(rest);
        let outcome = record(&self.store, &signed).await;
        if outcome.is_err() {
            waiting.extend(signed.into_iter().map(|(node_id, _, _)| node_id));
        }
        outcome
    }

    /// The certificate signed, or marked as failed; none where another attempt may succeed.
    async fn sign(&self, authority: &Authority, pending: &Certificate) -> Option<Certificate> {
        let Some(role) = Role::from_proto(pending.role) else {
            return Some(failed(pending, "failed to parse role".to_owned()));
        };
        let identity =
            Identity { node_id: pending.cn.clone(), role, organization: self.cluster_id.clone() };
        match authority.sign(&pending.csr, &identity).await {
            Ok(chain) => {
                debug!(node.id = pending.cn, node.role = %role, "certificate issued");
                let status = IssuanceStatus { state: State::Issued.into(), ..Default::default() };
                Some(Certificate { certificate: chain, status: Some(status), ..pending.clone() })
            }
            Err(error @ (CaError::NoSigner | CaError::ExternalUnreachable(_))) => {
                warn!(node.id = pending.cn, %error, "a certificate cannot be signed yet");
                None
            }
            Err(error) => {
                warn!(node.id = pending.cn, %error, "cannot sign a certificate");
                Some(failed(pending, error.to_string()))
            }
        }
    }

    /// The cluster's root as it is now; none where the cluster object has no usable one.
    fn root(&mut self, cluster: &Cluster) -> Option<RootCa> {
        let stored = cluster.root_ca.as_ref()?;
        match &self.root {
            Some((made_of, root)) if made_of == stored => Some(root.clone()),
            _ => {
                let made = RootCa::from_cluster(stored);
                let made = made.inspect_err(|error| warn!(%error, "unusable root CA in cluster"));
                self.root = made.ok().map(|root| (stored.clone(), root));
                self.root.as_ref().map(|(_, root)| root.clone())
            }
        }
    }
}

/// Who signs.
struct Authority {
    /// Goes first where there is one.
    external: Option<ExternalCa>,
    root: RootCa,
    expiry: Duration,
}

impl Authority {
    async fn sign(&self, csr: &[u8], identity: &Identity) -> Result<Vec<u8>, CaError> {
        match &self.external {
            Some(external) => match external.sign(csr, identity).await {
                Ok(mut chain) => {
                    chain.extend_from_slice(self.root.intermediates_pem());
                    Ok(chain)
                }
                // With the key at hand nobody has to wait.
                Err(CaError::ExternalUnreachable(_)) if self.root.can_sign() => {
                    self.root.sign(csr, identity, self.expiry)
                }
                Err(error) => Err(error),
            },
            None => self.root.sign(csr, identity, self.expiry),
        }
    }
}

/// The external CA that has the key of the root that nodes are to have their certificates of.
fn external_ca(cluster: &Cluster, materials: &TlsMaterials) -> Option<ExternalCa> {
    let config = cluster.spec.as_ref()?.ca_config.as_ref()?;
    if config.external_cas.is_empty() {
        return None;
    }
    let root = cluster.root_ca.as_ref()?;
    let wanted = root.root_rotation.as_ref().map_or(&root.ca_cert, |rotation| &rotation.ca_cert);
    let (present, wanted) = (normalize_pem(&root.ca_cert).ok()?, normalize_pem(wanted).ok()?);
    let urls = external_urls(config, &present, &wanted);
    Some(ExternalCa::new(urls, RootCa::from_pem(&wanted).ok()?, materials.clone()))
}

/// Writes certificates into nodes that still wait for just these.
async fn record(store: &Store, signed: &[(String, Vec<u8>, Certificate)]) -> Result<(), Error> {
    store
        .update(|transaction| {
            for (node_id, csr, certificate) in signed {
                let Some(node) = transaction.get::<Node>(node_id) else { continue };
                if !is_unsigned(node) || node.certificate.as_ref().is_none_or(|c| c.csr != *csr) {
                    continue;
                }
                let node = Node { certificate: Some(certificate.clone()), ..Node::clone(node) };
                transaction.update(node)?;
            }
            Ok(())
        })
        .await
}

fn failed(pending: &Certificate, why: String) -> Certificate {
    let status = IssuanceStatus { state: State::Failed.into(), err: why };
    Certificate { status: Some(status), ..pending.clone() }
}

/// Adds the nodes that a commit may have put in want of a certificate.
fn note(commit: &Commit, waiting: &mut BTreeSet<String>) {
    if commit.resync {
        *waiting = unsigned(&commit.tables);
    }
    for change in commit.changes.iter() {
        if let Change::Node(delta) = change
            && let Some(node) = delta.new.as_ref().filter(|node| is_unsigned(node))
        {
            waiting.insert(node.id.clone());
        }
    }
}

fn unsigned(tables: &Tables) -> BTreeSet<String> {
    tables.iter::<Node>().filter(|node| is_unsigned(node)).map(|node| node.id.clone()).collect()
}

/// A renewal is signed in any case, a new certificate once the node is accepted.
fn is_unsigned(node: &Node) -> bool {
    let status = node.certificate.as_ref().and_then(|certificate| certificate.status.as_ref());
    let accepted = node.spec.as_ref().is_some_and(|spec| spec.membership() == Membership::Accepted);
    match status.map(IssuanceStatus::state) {
        Some(State::Renew) => true,
        Some(State::Pending) => accepted,
        _ => false,
    }
}

fn expiry(cluster: &Cluster) -> Duration {
    let config = cluster.spec.as_ref().and_then(|spec| spec.ca_config.as_ref());
    config
        .and_then(|config| config.node_cert_expiry.as_ref())
        .map_or(DEFAULT_NODE_CERTIFICATE_EXPIRY, to_duration)
}
