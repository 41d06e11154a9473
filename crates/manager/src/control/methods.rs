//! The `Control` service method by method: admits managers only, then hands over to the resource's file.
//!
//! Nothing is decided here, so that each resource's file reads on its own.

use swarm_proto::v1::control_server::Control as ControlService;
use swarm_proto::v1::*;
use tonic::{Request, Response, Status};

use super::{Control, cluster, config, network, node, secret, service, service_status, task};

type Answer<T> = Result<Response<T>, Status>;

/// Extensions, resources and cluster volumes, which SwarmKit has for plugins, are not there.
fn unsupported<T>(what: &str) -> Answer<T> {
    Err(Status::unimplemented(format!("{what} are not supported")))
}

#[tonic::async_trait]
impl ControlService for Control {
    async fn get_node(&self, request: Request<GetNodeRequest>) -> Answer<GetNodeResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(node::get(self, request)?))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(node::list(self, request)?))
    }

    async fn update_node(&self, request: Request<UpdateNodeRequest>) -> Answer<UpdateNodeResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(node::update(self, request).await?))
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Answer<RemoveNodeResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(node::remove(self, request).await?))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Answer<GetTaskResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(task::get(self, request)?))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Answer<ListTasksResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(task::list(self, request)?))
    }

    async fn remove_task(&self, request: Request<RemoveTaskRequest>) -> Answer<RemoveTaskResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(task::remove(self, request).await?))
    }

    async fn get_service(&self, request: Request<GetServiceRequest>) -> Answer<GetServiceResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(service::get(self, request)?))
    }

    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Answer<ListServicesResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(service::list(self, request)?))
    }

    async fn create_service(
        &self,
        request: Request<CreateServiceRequest>,
    ) -> Answer<CreateServiceResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(service::create(self, request).await?))
    }

    async fn update_service(
        &self,
        request: Request<UpdateServiceRequest>,
    ) -> Answer<UpdateServiceResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(service::update(self, request).await?))
    }

    async fn remove_service(
        &self,
        request: Request<RemoveServiceRequest>,
    ) -> Answer<RemoveServiceResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(service::remove(self, request).await?))
    }

    async fn list_service_statuses(
        &self,
        request: Request<ListServiceStatusesRequest>,
    ) -> Answer<ListServiceStatusesResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(service_status::list(self, request)?))
    }

    async fn get_network(&self, request: Request<GetNetworkRequest>) -> Answer<GetNetworkResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(network::get(self, request)?))
    }

    async fn list_networks(
        &self,
        request: Request<ListNetworksRequest>,
    ) -> Answer<ListNetworksResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(network::list(self, request)?))
    }

    async fn create_network(
        &self,
        request: Request<CreateNetworkRequest>,
    ) -> Answer<CreateNetworkResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(network::create(self, request)?))
    }

    async fn remove_network(
        &self,
        request: Request<RemoveNetworkRequest>,
    ) -> Answer<RemoveNetworkResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(network::remove(self, request)?))
    }

    async fn get_cluster(&self, request: Request<GetClusterRequest>) -> Answer<GetClusterResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(cluster::get(self, request)?))
    }

    async fn list_clusters(
        &self,
        request: Request<ListClustersRequest>,
    ) -> Answer<ListClustersResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(cluster::list(self, request)?))
    }

    async fn update_cluster(
        &self,
        request: Request<UpdateClusterRequest>,
    ) -> Answer<UpdateClusterResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(cluster::update(self, request).await?))
    }

    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Answer<GetSecretResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(secret::get(self, request)?))
    }

    async fn update_secret(
        &self,
        request: Request<UpdateSecretRequest>,
    ) -> Answer<UpdateSecretResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(secret::update(self, request).await?))
    }

    async fn list_secrets(
        &self,
        request: Request<ListSecretsRequest>,
    ) -> Answer<ListSecretsResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(secret::list(self, request)?))
    }

    async fn create_secret(
        &self,
        request: Request<CreateSecretRequest>,
    ) -> Answer<CreateSecretResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(secret::create(self, request).await?))
    }

    async fn remove_secret(
        &self,
        request: Request<RemoveSecretRequest>,
    ) -> Answer<RemoveSecretResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(secret::remove(self, request).await?))
    }

    async fn get_config(&self, request: Request<GetConfigRequest>) -> Answer<GetConfigResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(config::get(self, request)?))
    }

    async fn update_config(
        &self,
        request: Request<UpdateConfigRequest>,
    ) -> Answer<UpdateConfigResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(config::update(self, request).await?))
    }

    async fn list_configs(
        &self,
        request: Request<ListConfigsRequest>,
    ) -> Answer<ListConfigsResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(config::list(self, request)?))
    }

    async fn create_config(
        &self,
        request: Request<CreateConfigRequest>,
    ) -> Answer<CreateConfigResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(config::create(self, request).await?))
    }

    async fn remove_config(
        &self,
        request: Request<RemoveConfigRequest>,
    ) -> Answer<RemoveConfigResponse> {
        let request = self.admit(request)?;
        Ok(Response::new(config::remove(self, request).await?))
    }

    async fn get_extension(
        &self,
        request: Request<GetExtensionRequest>,
    ) -> Answer<GetExtensionResponse> {
        self.admit(request)?;
        unsupported("extensions")
    }

    async fn create_extension(
        &self,
        request: Request<CreateExtensionRequest>,
    ) -> Answer<CreateExtensionResponse> {
        self.admit(request)?;
        unsupported("extensions")
    }

    async fn remove_extension(
        &self,
        request: Request<RemoveExtensionRequest>,
    ) -> Answer<RemoveExtensionResponse> {
        self.admit(request)?;
        unsupported("extensions")
    }

    async fn get_resource(
        &self,
        request: Request<GetResourceRequest>,
    ) -> Answer<GetResourceResponse> {
        self.admit(request)?;
        unsupported("resources")
    }

    async fn update_resource(
        &self,
        request: Request<UpdateResourceRequest>,
    ) -> Answer<UpdateResourceResponse> {
        self.admit(request)?;
        unsupported("resources")
    }

    async fn list_resources(
        &self,
        request: Request<ListResourcesRequest>,
    ) -> Answer<ListResourcesResponse> {
        self.admit(request)?;
        unsupported("resources")
    }

    async fn create_resource(
        &self,
        request: Request<CreateResourceRequest>,
    ) -> Answer<CreateResourceResponse> {
        self.admit(request)?;
        unsupported("resources")
    }

    async fn remove_resource(
        &self,
        request: Request<RemoveResourceRequest>,
    ) -> Answer<RemoveResourceResponse> {
        self.admit(request)?;
        unsupported("resources")
    }

    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Answer<CreateVolumeResponse> {
        self.admit(request)?;
        unsupported("cluster volumes")
    }

    async fn get_volume(&self, request: Request<GetVolumeRequest>) -> Answer<GetVolumeResponse> {
        self.admit(request)?;
        unsupported("cluster volumes")
    }

    async fn update_volume(
        &self,
        request: Request<UpdateVolumeRequest>,
    ) -> Answer<UpdateVolumeResponse> {
        self.admit(request)?;
        unsupported("cluster volumes")
    }

    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Answer<ListVolumesResponse> {
        self.admit(request)?;
        unsupported("cluster volumes")
    }

    async fn remove_volume(
        &self,
        request: Request<RemoveVolumeRequest>,
    ) -> Answer<RemoveVolumeResponse> {
        self.admit(request)?;
        unsupported("cluster volumes")
    }
}
