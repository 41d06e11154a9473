//! Configs: create, read, change labels, remove.

use swarm_proto::id::new_id;
use swarm_proto::v1::{
    Config, ConfigSpec, CreateConfigRequest, CreateConfigResponse, GetConfigRequest,
    GetConfigResponse, ListConfigsRequest, ListConfigsResponse, RemoveConfigRequest,
    RemoveConfigResponse, UpdateConfigRequest, UpdateConfigResponse,
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
const DATA_BYTES_MAX: usize = 1000 * 1024;

pub(super) fn get(
    control: &Control,
    request: GetConfigRequest,
) -> Result<GetConfigResponse, Failure> {
    let id = required(&request.config_id)?;
    let tables = control.store.view();
    let stored = tables.get::<Config>(id).ok_or_else(|| not_found("config", id))?;
    Ok(GetConfigResponse { config: Some(Config::clone(stored)) })
}

pub(super) fn list(
    control: &Control,
    request: ListConfigsRequest,
) -> Result<ListConfigsResponse, Failure> {
    let filters = request.filters.unwrap_or_default();
    let selection = selection!(filters);
    let tables = control.store.view();
    let admitted = tables.iter::<Config>().filter(|config| selection.admits_any(&***config));
    Ok(ListConfigsResponse { configs: admitted.map(|config| Config::clone(config)).collect() })
}

pub(super) async fn create(
    control: &Control,
    request: CreateConfigRequest,
) -> Result<CreateConfigResponse, Failure> {
    let spec = request.spec.ok_or_else(invalid_argument)?;
    check_spec(&spec)?;
    let id = new_id();
    let config = Config { id: id.clone(), spec: Some(spec), ..Config::default() };
    let name = config.name().to_owned();
    let created = control
        .store
        .update(|transaction| {
            transaction.create(config)?;
            Ok(transaction.get::<Config>(&id).map(|stored| Config::clone(stored)))
        })
        .await;
    match created {
        Err(Error::NameConflict { .. }) => {
            Err(Status::already_exists(format!("config {name} already exists")).into())
        }
        other => Ok(CreateConfigResponse { config: other? }),
    }
}

pub(super) async fn update(
    control: &Control,
    request: UpdateConfigRequest,
) -> Result<UpdateConfigResponse, Failure> {
    let id = super::required(&request.config_id)?;
    let version = request.config_version.ok_or_else(invalid_argument)?.index;
    let wanted = request.spec.clone().ok_or_else(invalid_argument)?;
    let config = control
        .store
        .update(|transaction| {
            let stored = transaction.get::<Config>(id).ok_or_else(|| not_found("config", id))?;
            let mut config = at_version(&**stored, version);
            let spec = config.spec.get_or_insert_default();
            change_labels(spec, &wanted)?;
            transaction.update(config)?;
            Ok::<_, Failure>(transaction.get::<Config>(id).map(|stored| Config::clone(stored)))
        })
        .await?;
    Ok(UpdateConfigResponse { config })
}

pub(super) async fn remove(
    control: &Control,
    request: RemoveConfigRequest,
) -> Result<RemoveConfigResponse, Failure> {
    let id = required(&request.config_id)?;
    control
        .store
        .update(|transaction| {
            let stored = transaction
                .get::<Config>(id)
                .ok_or_else(|| Status::not_found(format!("could not find config {id}")))?;
            check_unused(transaction, "config", stored.name(), |container| {
                container.configs.iter().any(|reference| reference.config_id == id)
            })?;
            Ok::<_, Failure>(transaction.delete::<Config>(id)?)
        })
        .await?;
    Ok(RemoveConfigResponse {})
}

fn required(id: &str) -> Result<&str, Status> {
    super::required(id).map_err(|_| Status::invalid_argument("config ID must be provided"))
}

fn check_spec(spec: &ConfigSpec) -> Result<(), Status> {
    check_file_name(spec.annotations.as_ref())?;
    check_payload("config", &spec.data, DATA_BYTES_MAX)
}

/// Takes over the labels, and refuses any other change.
fn change_labels(spec: &mut ConfigSpec, wanted: &ConfigSpec) -> Result<(), Status> {
    let annotations = spec.annotations.get_or_insert_default();
    let wanted_annotations = wanted.annotations.clone().unwrap_or_default();
    let same_data = wanted.data.is_empty() || wanted.data == spec.data;
    if annotations.name != wanted_annotations.name || !same_data {
        return Err(Status::invalid_argument("only updates to Labels are allowed"));
    }
    annotations.labels = wanted_annotations.labels;
    Ok(())
}
