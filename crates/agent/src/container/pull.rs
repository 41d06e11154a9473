//! Fetching a task's image with the credentials that came with the task.
//!
//! An image that the node has is used as it is: a service's reference carries the digest that the manager found at the
//! registry, so what is on the node under it is what was asked for, and a registry that is away delays nothing.

use swarm_engine::Error;
use swarm_engine::image::{Progress, Reference};
use swarm_engine::registry::{PullRequest, RegistryClient, parse_auth};

use crate::controller::ControllerError;

/// Pulls `reference`; `auth` is the encoded `X-Registry-Auth` of the service's creation, or empty.
pub(crate) async fn pull(
    registries: &RegistryClient,
    reference: &str,
    auth: &str,
) -> Result<(), ControllerError> {
    let request = request(reference, auth).map_err(|error| failed(reference, &error))?;
    let pulled = registries.pull(request, &Progress::discard()).await;
    pulled.map(|_| ()).map_err(|error| failed(reference, &error))
}

fn request(reference: &str, auth: &str) -> Result<PullRequest, Error> {
    let reference = Reference::parse(reference)?;
    Ok(PullRequest { reference, platform: None, auth: parse_auth(auth)? })
}

/// Docker's words for a task whose image is nowhere, and why it could not be fetched.
fn failed(reference: &str, error: &Error) -> ControllerError {
    ControllerError::Fatal(format!("No such image: {reference} ({error})"))
}
