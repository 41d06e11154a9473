//! The way to the cluster's objects: a control client, its deadline, and the lookup by ID, name or ID prefix.
//!
//! Mirrors moby's `daemon/cluster/helpers.go`: an exact ID wins over a name, a name over a prefix.

use std::future::Future;
use std::time::Duration;

use swarm_proto::Channel;
use swarm_proto::v1;
use swarm_proto::v1::control_client::ControlClient;
use swarm_proto::v1::logs_client::LogsClient;
use tonic::{Response, Status};

use crate::error::{ApiError, Class};
use crate::state::ApiState;

/// Moby's bound on one call to the cluster; without a quorum a call never ends by itself.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Lists of whole clusters exceed gRPC's usual 4 MiB: 100,000 tasks take 25 MB. A bound must exist, though the answer
/// comes from this very process or from a manager that is trusted with everything.
const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// A client of the control service with a deadline on every call.
#[derive(Clone)]
pub(crate) struct Control(ControlClient<Channel>);

impl ApiState {
    pub(crate) fn control(&self) -> Result<Control, ApiError> {
        let client = ControlClient::new(self.cluster.control()?);
        Ok(Control(client.max_decoding_message_size(MESSAGE_BYTES_MAX)))
    }

    pub(crate) fn logs(&self) -> Result<LogsClient<Channel>, ApiError> {
        Ok(LogsClient::new(self.cluster.control()?))
    }
}

async fn timed<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, ApiError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("context deadline exceeded").into()),
    }
}

macro_rules! calls {
    ($($name:ident: $request:ident -> $response:ident;)*) => {
        impl Control { $(
            pub(crate) async fn $name(&self, request: v1::$request) -> Result<v1::$response, ApiError> {
                timed(self.0.clone().$name(request)).await
            }
        )* }
    };
}

calls! {
    get_node: GetNodeRequest -> GetNodeResponse;
    list_nodes: ListNodesRequest -> ListNodesResponse;
    update_node: UpdateNodeRequest -> UpdateNodeResponse;
    remove_node: RemoveNodeRequest -> RemoveNodeResponse;
    get_task: GetTaskRequest -> GetTaskResponse;
    list_tasks: ListTasksRequest -> ListTasksResponse;
    get_service: GetServiceRequest -> GetServiceResponse;
    list_services: ListServicesRequest -> ListServicesResponse;
    create_service: CreateServiceRequest -> CreateServiceResponse;
    update_service: UpdateServiceRequest -> UpdateServiceResponse;
    remove_service: RemoveServiceRequest -> RemoveServiceResponse;
    list_service_statuses: ListServiceStatusesRequest -> ListServiceStatusesResponse;
    get_network: GetNetworkRequest -> GetNetworkResponse;
    list_networks: ListNetworksRequest -> ListNetworksResponse;
    remove_network: RemoveNetworkRequest -> RemoveNetworkResponse;
    list_clusters: ListClustersRequest -> ListClustersResponse;
    update_cluster: UpdateClusterRequest -> UpdateClusterResponse;
    get_secret: GetSecretRequest -> GetSecretResponse;
    list_secrets: ListSecretsRequest -> ListSecretsResponse;
    create_secret: CreateSecretRequest -> CreateSecretResponse;
    update_secret: UpdateSecretRequest -> UpdateSecretResponse;
    remove_secret: RemoveSecretRequest -> RemoveSecretResponse;
    get_config: GetConfigRequest -> GetConfigResponse;
    list_configs: ListConfigsRequest -> ListConfigsResponse;
    create_config: CreateConfigRequest -> CreateConfigResponse;
    update_config: UpdateConfigRequest -> UpdateConfigResponse;
    remove_config: RemoveConfigRequest -> RemoveConfigResponse;
}

macro_rules! finders {
    ($($find:ident: $word:literal $object:ident by $get:ident($get_request:ident { $id:ident }).$one:ident,
       $list:ident($list_request:ident, $filters:path).$many:ident;)*) => {
        #[expect(clippy::needless_update, reason = "some of these requests have more fields")]
        impl Control { $(
            pub(crate) async fn $find(&self, input: &str) -> Result<v1::$object, ApiError> {
                let request = v1::$get_request { $id: input.to_owned(), ..Default::default() };
                if let Some(object) = unless_absent(self.$get(request).await)?.and_then(|r| r.$one) {
                    return Ok(object);
                }
                use $filters as Filters;
                let names = Filters { names: vec![input.to_owned()], ..Default::default() };
                let prefixes = Filters { id_prefixes: vec![input.to_owned()], ..Default::default() };
                let list = |filters| self.$list(v1::$list_request { filters: Some(filters), ..Default::default() });
                let mut found = list(names).await?.$many;
                if found.is_empty() {
                    found = list(prefixes).await?.$many;
                }
                single($word, input, found)
            }
        )* }
    };
}

finders! {
    find_node: "node" Node by get_node(GetNodeRequest { node_id }).node,
        list_nodes(ListNodesRequest, v1::list_nodes_request::Filters).nodes;
    find_service: "service" Service by get_service(GetServiceRequest { service_id }).service,
        list_services(ListServicesRequest, v1::list_services_request::Filters).services;
    find_task: "task" Task by get_task(GetTaskRequest { task_id }).task,
        list_tasks(ListTasksRequest, v1::list_tasks_request::Filters).tasks;
    find_network: "network" Network by get_network(GetNetworkRequest { network_id }).network,
        list_networks(ListNetworksRequest, v1::list_networks_request::Filters).networks;
    find_secret: "secret" Secret by get_secret(GetSecretRequest { secret_id }).secret,
        list_secrets(ListSecretsRequest, v1::list_secrets_request::Filters).secrets;
    find_config: "config" Config by get_config(GetConfigRequest { config_id }).config,
        list_configs(ListConfigsRequest, v1::list_configs_request::Filters).configs;
}

impl Control {
    /// The one cluster that there is.
    pub(crate) async fn cluster(&self) -> Result<v1::Cluster, ApiError> {
        let clusters = self.list_clusters(v1::ListClustersRequest::default()).await?.clusters;
        clusters.into_iter().next().ok_or_else(crate::cluster::refusal::no_swarm)
    }
}

/// What was found by ID, if anything was. Only "not found" means that it may go by another name: a leader that is lost
/// between two calls must not make an object look as if it did not exist.
fn unless_absent<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.class, Class::NotFound | Class::InvalidParameter) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Exactly one object, or Docker's refusal.
pub(crate) fn single<T>(word: &str, input: &str, mut found: Vec<T>) -> Result<T, ApiError> {
    match (found.pop(), found.len() + 1) {
        (None, _) => Err(ApiError::not_found(format!("{word} {input} not found"))),
        (Some(object), 1) => Ok(object),
        (Some(_), n) => {
            Err(ApiError::invalid(format!("{word} {input} is ambiguous ({n} matches found)")))
        }
    }
}

/// A field that the control service always fills; its absence is a fault of the peer.
pub(crate) fn expected<T>(field: Option<T>, name: &str) -> Result<T, ApiError> {
    field.ok_or_else(|| ApiError::system(format!("the manager's answer lacks its {name}")))
}

pub(crate) fn version(index: u64) -> Option<v1::Version> {
    Some(v1::Version { index })
}
