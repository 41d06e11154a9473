//! How a machine comes by its certificate: calls of the real authority, whose signature is a name here.

use std::time::Duration;

use futures::FutureExt as _;
use swarm_ca::{Identity, PeerIdentity, Role};
use swarm_manager::NodeCaService;
use swarm_proto::v1::node_ca_server::NodeCa as _;
use swarm_proto::v1::{IssueNodeCertificateRequest, Node, NodeCertificateStatusRequest};
use swarm_store::Store;
use tonic::Request;

use crate::authority::{CLUSTER, new_node};
use crate::seat::{Seat, node_id};

/// As the node's own: a certificate that was asked for and does not come is asked for again.
const CERTIFICATE_MAX: Duration = Duration::from_secs(5);

/// A certificate that was asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    csr: Vec<u8>,
    pub(crate) until: Duration,
}

/// The request with which a machine joins.
fn first_csr(machine: u64) -> Vec<u8> {
    format!("{machine}-0").into_bytes()
}

impl Seat {
    fn next_csr(&mut self, machine: u64) -> Vec<u8> {
        self.requests += 1;
        format!("{machine}-{}", self.requests).into_bytes()
    }

    /// Joins with a token, as the authority's `admit` does it, but for the identifier, which is known here.
    pub(crate) fn admit(&mut self, machine: u64, store: &Store, now: Duration) {
        let Some(role) = self.token else { return };
        let csr = first_csr(machine);
        let node = new_node(&node_id(machine), role, csr.clone());
        if store.propose(|transaction| transaction.create::<Node>(node)).is_ok() {
            self.request = Some(Wanted { csr, until: now + CERTIFICATE_MAX });
        }
    }

    /// Asks for a certificate for the role that the node has by now.
    pub(crate) fn renew(&mut self, machine: u64, store: &Store, now: Duration) {
        if self.certificate.is_none() {
            let csr = first_csr(machine);
            self.request = Some(Wanted { csr, until: now + CERTIFICATE_MAX });
            return;
        }
        let csr = self.next_csr(machine);
        let asked = IssueNodeCertificateRequest { csr: csr.clone(), ..Default::default() };
        let request = self.signed(machine, asked);
        let service = NodeCaService::new(store.clone(), CLUSTER);
        // The write is proposed at once; whether it is committed shows when the certificate is fetched.
        let _ = service.issue_node_certificate(request).now_or_never();
        self.request = Some(Wanted { csr, until: now + CERTIFICATE_MAX });
    }

    /// Takes the certificate that was asked for, if it is there.
    pub(crate) fn fetch(&mut self, machine: u64, store: &Store) -> Option<Role> {
        let asked = NodeCertificateStatusRequest { node_id: node_id(machine) };
        let request = self.signed(machine, asked);
        let service = NodeCaService::new(store.clone(), CLUSTER);
        let answer = service.node_certificate_status(request).now_or_never()?.ok()?;
        let certificate = answer.into_inner().certificate?;
        // Another key's certificate is of no use.
        let wanted = self.request.take_if(|wanted| wanted.csr == certificate.csr);
        wanted.filter(|_| !certificate.certificate.is_empty())?;
        self.certificate = Role::from_proto(certificate.role);
        self.certificate
    }

    /// A call over this machine's certificate.
    fn signed<T>(&self, machine: u64, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let identity = self.certificate.map(|role| Identity {
            node_id: node_id(machine),
            role,
            organization: CLUSTER.to_owned(),
        });
        request.extensions_mut().insert(PeerIdentity {
            identity,
            remote_addr: None,
            expired: None,
        });
        request
    }
}
