//! Secrets: create, read, change labels, remove. Their data goes to the nodes that need it, never to a client.

use swarm_proto::id::new_id;
use swarm_proto::v1::{
    CreateSecretRequest, CreateSecretResponse, GetSecretRequest, GetSecretResponse,
    ListSecretsRequest, ListSecretsResponse, RemoveSecretRequest, RemoveSecretResponse, Secret,
    SecretSpec, UpdateSecretRequest, UpdateSecretResponse,
};
use swarm_store::{Error, Object as _};
use tonic::Status;

use super::names::check_file_name;
use super::payload::check_payload;
use super::references::check_unused;
use super::selection::selection;
use super::{Control, at_version, invalid_argument, not_found};
use crate::failure::Failure;

/// SwarmKit's limit.
const DATA_BYTES_MAX: usize = 500 * 1024;

pub(super) fn get(
    control: &Control,
    request: GetSecretRequest,
) -> Result<GetSecretResponse, Failure> {
    let id = required(&request.secret_id)?;
    let tables = control.store.view();
    let stored = tables.get::<Secret>(id).ok_or_else(|| not_found("secret", id))?;
    Ok(GetSecretResponse { secret: Some(without_data(stored)) })
}

pub(super) fn list(
    control: &Control,
    request: ListSecretsRequest,
) -> Result<ListSecretsResponse, Failure> {
    let filters = request.filters.unwrap_or_default();
    let selection = selection!(filters);
    let tables = control.store.view();
    let admitted = tables
        .iter::<Secret>()
        .filter(|secret| !secret.internal && selection.admits_any(&***secret));
    Ok(ListSecretsResponse { secrets: admitted.map(|secret| without_data(secret)).collect() })
}

pub(super) async fn create(
    control: &Control,
    request: CreateSecretRequest,
) -> Result<CreateSecretResponse, Failure> {
    let spec = request.spec.ok_or_else(invalid_argument)?;
    check_spec(&spec)?;
    let id = new_id();
    let secret = Secret { id: id.clone(), spec: Some(spec), ..Secret::default() };
    let name = secret.name().to_owned();
    let created = control
        .store
        .update(|transaction| {
            transaction.create(secret)?;
            Ok(transaction.get::<Secret>(&id).map(|stored| without_data(stored)))
        })
        .await;
    match created {
        Err(Error::NameConflict { .. }) => {
            Err(Status::already_exists(format!("secret {name} already exists")).into())
        }
        other => Ok(CreateSecretResponse { secret: other? }),
    }
}

pub(super) async fn update(
    control: &Control,
    request: UpdateSecretRequest,
) -> Result<UpdateSecretResponse, Failure> {
    let id = super::required(&request.secret_id)?;
    let version = request.secret_version.ok_or_else(invalid_argument)?.index;
    let wanted = request.spec.clone().ok_or_else(invalid_argument)?;
    let secret = control
        .store
        .update(|transaction| {
            let stored = transaction.get::<Secret>(id).ok_or_else(|| not_found("secret", id))?;
            let mut secret = at_version(&**stored, version);
            let spec = secret.spec.get_or_insert_default();
            change_labels(spec, &wanted)?;
            transaction.update(secret)?;
            Ok::<_, Failure>(transaction.get::<Secret>(id).map(|stored| without_data(stored)))
        })
        .await?;
    Ok(UpdateSecretResponse { secret })
}

pub(super) async fn remove(
    control: &Control,
    request: RemoveSecretRequest,
) -> Result<RemoveSecretResponse, Failure> {
    let id = required(&request.secret_id)?;
    control
        .store
        .update(|transaction| {
            let stored = transaction
                .get::<Secret>(id)
                .ok_or_else(|| Status::not_found(format!("could not find secret {id}")))?;
            check_unused(transaction, "secret", stored.name(), |container| {
                container.secrets.iter().any(|reference| reference.secret_id == id)
            })?;
            Ok::<_, Failure>(transaction.delete::<Secret>(id)?)
        })
        .await?;
    Ok(RemoveSecretResponse {})
}

fn required(id: &str) -> Result<&str, Status> {
    super::required(id).map_err(|_| Status::invalid_argument("secret ID must be provided"))
}

fn check_spec(spec: &SecretSpec) -> Result<(), Status> {
    check_file_name(spec.annotations.as_ref())?;
    if let Some(driver) = &spec.driver {
        if driver.name.is_empty() {
            return Err(Status::invalid_argument("secret driver must have a name"));
        }
        return Err(Status::unimplemented("secret drivers are not supported"));
    }
    check_payload("secret", &spec.data, DATA_BYTES_MAX)
}

/// Takes over the labels, and refuses any other change.
fn change_labels(spec: &mut SecretSpec, wanted: &SecretSpec) -> Result<(), Status> {
    let annotations = spec.annotations.get_or_insert_default();
    let wanted_annotations = wanted.annotations.clone().unwrap_or_default();
    let same_data = wanted.data.is_empty() || wanted.data == spec.data;
    if annotations.name != wanted_annotations.name || !same_data {
        return Err(Status::invalid_argument("only updates to Labels are allowed"));
    }
    annotations.labels = wanted_annotations.labels;
    Ok(())
}

/// What clients may see: everything but the data.
fn without_data(secret: &Secret) -> Secret {
    let mut secret = secret.clone();
    if let Some(spec) = secret.spec.as_mut() {
        spec.data.clear();
    }
    secret
}
