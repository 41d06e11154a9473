//! Whether another manager serves, asked by its Health service.

use std::time::Duration;

use swarm_ca::{Credentials, TlsMaterials};
use swarm_proto::v1::HealthCheckRequest;
use swarm_proto::v1::health_check_response::ServingStatus;
use swarm_proto::v1::health_client::HealthClient;
use tonic::Status;

/// Asks whether the Raft service at `addr` serves.
///
/// # Errors
/// What went wrong, in SwarmKit's words.
pub(crate) async fn check(
    materials: &TlsMaterials,
    addr: &str,
    limit: Duration,
) -> Result<(), Status> {
    let channel = swarm_ca::connect(addr, Credentials::Member(materials.clone()))
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let mut client = HealthClient::new(channel);
    let request = HealthCheckRequest { service: "Raft".to_owned() };
    let answer = tokio::time::timeout(limit, client.check(request)).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
    let answer = answer.map_err(|status| {
        Status::new(
            status.code(),
            format!(
                "could not connect to prospective new cluster member using its advertised address: {}",
                swarm_ca::rpc_error_text(&status)
            ),
        )
    })?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(Status::unavailable(format!(
            "health check returned status {}",
            other.as_str_name()
        ))),
    }
}
