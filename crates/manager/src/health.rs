//! The Health service: whether a part of this manager serves. Stock managers ask it before they let a member join.
//!
//! Mirrors SwarmKit's `manager/health`.

use swarm_ca::{Role, require};
use swarm_proto::v1::health_check_response::ServingStatus;
use swarm_proto::v1::health_server;
use swarm_proto::v1::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Request, Response, Status};

/// The services that are asked for by name; the empty name stands for the whole manager.
const SERVICES: [&str; 3] = ["", "ControlAPI", "Raft"];

/// Answers for the services of a manager that runs.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    organization: String,
}

impl Health {
    pub(crate) fn new(organization: String) -> Self {
        Self { organization }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        require(&request, &[Role::Manager], &self.organization)?;
        let service = &request.get_ref().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!("unknown service {service}")));
        }
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }
}
