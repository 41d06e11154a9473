//! Nodes: read, change availability, role and labels, remove.

use std::collections::HashMap;
use std::time::SystemTime;

use swarm_ca::certificate_expiry;
use swarm_proto::timestamp::{from_system_time, to_system_time};
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::{
    BlacklistedCertificate, Cluster, GetNodeRequest, GetNodeResponse, ListNodesRequest,
    ListNodesResponse, Node, NodeRole, NodeSpec, RemoveNodeRequest, RemoveNodeResponse, Task,
    TaskState, TaskStatus, UpdateNodeRequest, UpdateNodeResponse, list_nodes_request::Filters,
};
use swarm_store::{Tables, Transaction};
use tonic::Status;

use super::membership::{RaftMember, annotate};
use super::selection::{contains, contains_number, contains_prefix, match_labels};
use super::{Control, at_version, invalid_argument, not_found, required};
use crate::failure::Failure;

/// So long a removed node is remembered beyond its certificate's end.
const EXPIRED_GRACE: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

pub(super) fn get(control: &Control, request: GetNodeRequest) -> Result<GetNodeResponse, Failure> {
    let id = required(&request.node_id)?;
    let tables = control.store.view();
    let stored = tables.get::<Node>(id).ok_or_else(|| not_found("node", id))?;
    let mut node = Node::clone(stored);
    annotate(&mut node, &members(control));
    Ok(GetNodeResponse { node: Some(node) })
}

pub(super) fn list(
    control: &Control,
    request: ListNodesRequest,
) -> Result<ListNodesResponse, Failure> {
    let filters = request.filters.unwrap_or_default();
    let tables = control.store.view();
    let members = members(control);
    let admitted = tables.iter::<Node>().filter(|node| admits(&filters, node));
    let nodes = admitted.map(|stored| {
        let mut node = match request.without_certificates {
            true => without_certificate(stored),
            false => Node::clone(stored),
        };
        annotate(&mut node, &members);
        node
    });
    Ok(ListNodesResponse { nodes: nodes.collect() })
}

/// A copy of a node, less the certificate, which is larger than all the rest.
fn without_certificate(node: &Node) -> Node {
    Node {
        id: node.id.clone(),
        meta: node.meta,
        spec: node.spec.clone(),
        description: node.description.clone(),
        status: node.status.clone(),
        manager_status: node.manager_status.clone(),
        certificate: None,
        role: node.role,
        attachments: node.attachments.clone(),
        ..Node::default()
    }
}

pub(super) async fn update(
    control: &Control,
    request: UpdateNodeRequest,
) -> Result<UpdateNodeResponse, Failure> {
    let id = required(&request.node_id)?;
    let version = request.node_version.ok_or_else(invalid_argument)?.index;
    let spec = request.spec.clone().ok_or_else(invalid_argument)?;
    let members = members(control);
    let node = control
        .store
        .update(|transaction| {
            let stored = transaction.get::<Node>(id).ok_or_else(|| not_found("node", id))?;
            // A label that was there before is no obstacle to anything else.
            if labels(stored.spec.as_ref()) != labels(Some(&spec)) {
                swarm_orchestrator::options::check_node(&spec)
                    .map_err(|refused| Status::invalid_argument(refused.to_string()))?;
            }
            if is_demotion(stored, &spec) {
                check_demotion(control, transaction, id, &members)?;
            }
            let node = Node { spec: Some(spec), ..at_version(&**stored, version) };
            transaction.update(node)?;
            Ok::<_, Failure>(transaction.get::<Node>(id).map(|node| Node::clone(node)))
        })
        .await?;
    Ok(UpdateNodeResponse { node })
}

pub(super) async fn remove(
    control: &Control,
    request: RemoveNodeRequest,
) -> Result<RemoveNodeResponse, Failure> {
    let id = required(&request.node_id)?;
    control
        .store
        .update(|transaction| {
            let node = transaction.get::<Node>(id).ok_or_else(|| not_found("node", id))?.clone();
            check_removal(control, &node, request.force)?;
            blacklist(transaction, &node)?;
            orphan_tasks(transaction, id)?;
            Ok::<_, Failure>(transaction.delete::<Node>(id)?)
        })
        .await?;
    Ok(RemoveNodeResponse {})
}

fn members(control: &Control) -> Vec<RaftMember> {
    control.membership.as_ref().map(|membership| membership.members()).unwrap_or_default()
}

fn admits(filters: &Filters, node: &Node) -> bool {
    let description = node.description.as_ref();
    let hostname = description.map_or("", |description| description.hostname.as_str());
    let engine = description.and_then(|description| description.engine.as_ref());
    let spec = node.spec.as_ref();
    let annotations = spec.and_then(|spec| spec.annotations.as_ref());
    contains(&filters.names, hostname)
        && contains_prefix(&filters.name_prefixes, hostname)
        && contains_prefix(&filters.id_prefixes, &node.id)
        && match_labels(engine.map(|engine| &engine.labels), &filters.labels)
        && match_labels(annotations.map(|annotations| &annotations.labels), &filters.node_labels)
        && contains_number(&filters.roles, node.role)
        && contains_number(&filters.memberships, spec.map_or(0, |spec| spec.membership))
}

fn labels(spec: Option<&NodeSpec>) -> Option<&HashMap<String, String>> {
    spec?.annotations.as_ref().map(|annotations| &annotations.labels)
}

fn desired_role(node: &Node) -> NodeRole {
    node.spec.as_ref().map_or(NodeRole::Worker, NodeSpec::desired_role)
}

fn is_demotion(node: &Node, spec: &NodeSpec) -> bool {
    desired_role(node) == NodeRole::Manager && spec.desired_role() == NodeRole::Worker
}

/// The last manager stays, and so does one without whom the others would have no quorum.
fn check_demotion(
    control: &Control,
    tables: &Tables,
    id: &str,
    members: &[RaftMember],
) -> Result<(), Status> {
    let mut managers = tables.iter::<Node>().filter(|node| node.role() == NodeRole::Manager);
    if managers.next().is_some_and(|node| node.id == id) && managers.next().is_none() {
        return Err(Status::failed_precondition(
            "attempting to demote the last manager of the swarm",
        ));
    }
    let Some(member) = members.iter().find(|member| member.node_id == id) else {
        return Err(Status::not_found("can't find manager in raft memberlist"));
    };
    let removable = |raft_id| control.membership.as_ref().is_some_and(|m| m.can_remove(raft_id));
    if !removable(member.status.raft_id) {
        return Err(Status::failed_precondition(
            "can't remove member from the raft: this would result in a loss of quorum",
        ));
    }
    Ok(())
}

fn check_removal(control: &Control, node: &Node, force: bool) -> Result<(), Status> {
    let id = &node.id;
    if desired_role(node) == NodeRole::Manager {
        let Some(membership) = &control.membership else {
            return Err(Status::failed_precondition(format!(
                "node {id} is a manager but cannot access node information from the raft memberlist"
            )));
        };
        if membership.members().iter().any(|member| member.node_id == *id) {
            return Err(Status::failed_precondition(format!(
                "node {id} is a cluster manager and is a member of the raft cluster. \
                 It must be demoted to worker before removal"
            )));
        }
    }
    let ready = node.status.as_ref().is_some_and(|status| status.state() == State::Ready);
    if ready && !force {
        return Err(Status::failed_precondition(format!(
            "node {id} is not down and can't be removed"
        )));
    }
    Ok(())
}

/// Remembers that the node's certificate is good no more, which it would be until it expires.
fn blacklist(transaction: &mut Transaction<'_>, node: &Node) -> Result<(), Failure> {
    let stored =
        transaction.cluster().ok_or_else(|| Status::internal("could not fetch cluster object"))?;
    let mut cluster = Cluster::clone(stored);
    let chain = node.certificate.as_ref().map_or(&[][..], |certificate| &certificate.certificate);
    let expiry = certificate_expiry(chain).map(from_system_time);
    cluster.blacklisted_certificates.insert(node.id.clone(), BlacklistedCertificate { expiry });
    forget_expired(&mut cluster, transaction.now());
    Ok(transaction.update(cluster)?)
}

/// Forgets removed nodes whose certificates have long expired.
pub(super) fn forget_expired(cluster: &mut Cluster, now: SystemTime) {
    cluster.blacklisted_certificates.retain(|_, entry| {
        entry.expiry.as_ref().is_none_or(|expiry| to_system_time(expiry) + EXPIRED_GRACE >= now)
    });
}

/// Nobody will ever report on the tasks of a removed node, so they are given up here.
fn orphan_tasks(transaction: &mut Transaction<'_>, node_id: &str) -> Result<(), Failure> {
    let tables = transaction.tables().clone();
    for task in tables.tasks_by_node(node_id) {
        let state = task.status.as_ref().map_or(TaskState::New, TaskStatus::state);
        if state >= TaskState::Complete {
            continue;
        }
        let status = TaskStatus {
            timestamp: Some(from_system_time(transaction.now())),
            state: TaskState::Orphaned.into(),
            message: "Task belonged to a node that has been deleted".to_owned(),
            ..TaskStatus::default()
        };
        transaction.update(Task { status: Some(status), ..Task::clone(task) })?;
    }
    Ok(())
}
