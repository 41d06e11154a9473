//! The `Control` service: how the Engine API reads and changes the cluster's objects.
//!
//! Mirrors SwarmKit's package `manager/controlapi`, texts and codes included. A file per resource, each with the same
//! verbs (get, list, create, update, remove); what a spec must look like stands in the files named after it. Changes
//! only go to the store: what follows from them is for the control loops. Not here: overlay networks, cluster volumes,
//! extensions.

mod ca_config;
mod cluster;
mod config;
mod container_spec;
mod defaults;
mod endpoint_spec;
mod image_reference;
mod membership;
mod methods;
mod names;
mod network;
mod node;
mod payload;
mod references;
mod secret;
mod selection;
mod service;
mod service_spec;
mod service_status;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use swarm_ca::{Authorizer, Identity, Role, TlsMaterials, local_as};
use swarm_proto::Channel;
use swarm_proto::v1::control_server::ControlServer;
use swarm_store::{Object, Store};
use tonic::{Request, Status};

pub(crate) use ca_config::external_urls;
pub(crate) use cluster::{check_spec, manager_key};
pub use membership::{RaftMember, RaftMembership};

/// Serves `Control` over a store, to managers of this cluster only.
#[derive(Clone)]
pub struct Control {
    store: Store,
    authorizer: Authorizer,
    membership: Option<Arc<dyn RaftMembership>>,
    /// What is shown to external CAs.
    materials: Option<TlsMaterials>,
}

impl Control {
    /// Serves the cluster with this ID; `membership` tells which nodes are managers and how they fare.
    pub fn new(
        store: Store,
        cluster_id: &str,
        membership: Option<Arc<dyn RaftMembership>>,
    ) -> Self {
        let tables = store.clone();
        let authorizer = Authorizer::new(cluster_id).refusing(move |node_id| {
            let tables = tables.view();
            tables
                .cluster()
                .is_some_and(|cluster| cluster.blacklisted_certificates.contains_key(node_id))
        });
        Self { store, authorizer, membership, materials: None }
    }

    /// Asks external CAs with this node's certificate whether they can be reached, before they are relied on.
    #[must_use]
    pub fn asking_external_cas_as(self, materials: TlsMaterials) -> Self {
        Self { materials: Some(materials), ..self }
    }

    /// A channel for callers in this process, who act as the manager itself.
    pub fn local(&self, manager: Identity) -> Channel {
        local_as(manager, ControlServer::new(self.clone()))
    }

    /// The request's message, if a manager sent it.
    fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.authorizer.require_caller(&request, &[Role::Manager])?;
        Ok(request.into_inner())
    }
}

/// SwarmKit's answer to a request that lacks something essential.
fn invalid_argument() -> Status {
    Status::invalid_argument("invalid argument")
}

/// The ID of a request, unless it is missing.
fn required(id: &str) -> Result<&str, Status> {
    if id.is_empty() { Err(invalid_argument()) } else { Ok(id) }
}

fn not_found(what: &str, id: &str) -> Status {
    Status::not_found(format!("{what} {id} not found"))
}

/// A copy of a stored object that an update bases on the version that the caller knows.
fn at_version<T: Object>(stored: &T, version: u64) -> T {
    let mut object = stored.clone();
    object.meta_mut().version.get_or_insert_default().index = version;
    object
}
