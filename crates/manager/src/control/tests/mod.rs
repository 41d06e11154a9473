//! The service as its clients meet it: every call goes through the generated client and server.

mod cluster;
mod lists;
mod nodes;
mod secrets;
mod services;
mod specs;

use std::sync::Arc;

use swarm_ca::{Identity, JoinToken, Role, RootCa as Authority, rpc_error_text};
use swarm_proto::Channel;
use swarm_proto::v1::control_client::ControlClient;
use swarm_proto::v1::endpoint_spec::ResolutionMode;
use swarm_proto::v1::node_status::State as NodeState;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::update_service_request::Rollback;
use swarm_proto::v1::*;
use swarm_store::{ImmediateProposer, Object, Store};
use tonic::Status;

use super::{Control, RaftMember, RaftMembership};

const CLUSTER: &str = "cluster1";

fn annotations(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Default::default() })
}

fn spec(name: &str) -> ServiceSpec {
    let container = ContainerSpec { image: "alpine".into(), ..Default::default() };
    let task = TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() };
    ServiceSpec {
        annotations: annotations(name),
        task: Some(task.into()),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 2 })),
        ..Default::default()
    }
}

fn container(spec: &mut ServiceSpec) -> &mut ContainerSpec {
    match spec.task.as_mut().and_then(|task| task.runtime.as_mut()) {
        Some(Runtime::Container(container)) => container,
        _ => panic!("the spec is a container's"),
    }
}

fn port(published: u32, mode: PublishMode) -> PortConfig {
    PortConfig {
        published_port: published,
        target_port: 80,
        publish_mode: mode.into(),
        ..Default::default()
    }
}

fn with_ports(name: &str, ports: Vec<PortConfig>) -> ServiceSpec {
    ServiceSpec { endpoint: Some(EndpointSpec { ports, ..Default::default() }), ..spec(name) }
}

/// One member, which must stay.
struct OneMember;

impl RaftMembership for OneMember {
    fn members(&self) -> Vec<RaftMember> {
        let status = ManagerStatus { raft_id: 7, leader: true, ..Default::default() };
        vec![RaftMember { node_id: "manager".into(), status }]
    }

    fn can_remove(&self, _raft_id: u64) -> bool {
        false
    }
}

fn channel(store: &Store, role: Role, organization: &str) -> ControlClient<Channel> {
    let control = Control::new(store.clone(), CLUSTER, Some(Arc::new(OneMember)));
    let identity = Identity { node_id: "manager".into(), role, organization: organization.into() };
    ControlClient::new(control.local(identity))
}

/// A cluster with one manager and one worker, and its client.
async fn cluster() -> (Store, ControlClient<Channel>) {
    let store = ImmediateProposer::store();
    let root = Authority::create().expect("created");
    let token = || JoinToken::generate(root.digest()).to_string();
    let cluster = Cluster {
        id: CLUSTER.into(),
        spec: Some(ClusterSpec { annotations: annotations("default"), ..Default::default() }),
        root_ca: Some(RootCa {
            ca_cert: root.certificates_pem().to_vec(),
            ca_key: root.key_pem().expect("a key").to_vec(),
            join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let node = |id: &str, role: NodeRole| Node {
        id: id.into(),
        role: role.into(),
        spec: Some(NodeSpec { desired_role: role.into(), ..Default::default() }),
        status: Some(NodeStatus { state: NodeState::Ready.into(), ..Default::default() }),
        ..Default::default()
    };
    let written = store.update(|tx| {
        tx.create(cluster)?;
        tx.create(node("manager", NodeRole::Manager))?;
        tx.create(node("worker", NodeRole::Worker))
    });
    written.await.expect("written");
    let client = channel(&store, Role::Manager, CLUSTER);
    (store, client)
}

#[track_caller]
fn refused<T>(result: Result<T, Status>, expect: &str) {
    let status = result.err().unwrap_or_else(|| panic!("should be refused: {expect}"));
    assert_eq!(rpc_error_text(&status), format!("rpc error: code = {expect}"));
}

async fn create(client: &mut ControlClient<Channel>, spec: ServiceSpec) -> Result<Service, Status> {
    let answer = client.create_service(CreateServiceRequest { spec: Some(spec) }).await?;
    Ok(answer.into_inner().service.expect("a service"))
}

fn update_of(service: &Service, spec: ServiceSpec) -> UpdateServiceRequest {
    UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: Some(Version { index: service.version() }),
        spec: Some(spec),
        ..Default::default()
    }
}
