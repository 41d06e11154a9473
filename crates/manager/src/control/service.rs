//! Services: read, create, update, roll back, remove.

use swarm_orchestrator::cron;
use swarm_proto::id::new_id;
use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::update_service_request::Rollback;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{
    CreateServiceRequest, CreateServiceResponse, GetServiceRequest, GetServiceResponse, JobStatus,
    ListServicesRequest, ListServicesResponse, RemoveServiceRequest, RemoveServiceResponse,
    Service, ServiceSpec, UpdateServiceRequest, UpdateServiceResponse, UpdateStatus, Version,
};
use swarm_store::{Error, Kind, Object as _, Tables, Transaction};
use tonic::Status;

use super::endpoint_spec::{check_ingress, check_port_conflicts};
use super::references::check_references;
use super::selection::selection;
use super::service_spec::{check_networks, check_service_spec, is_job};
use super::{Control, defaults, invalid_argument, not_found, required, task};
use crate::failure::Failure;

pub(super) fn get(
    control: &Control,
    request: GetServiceRequest,
) -> Result<GetServiceResponse, Failure> {
    let id = required(&request.service_id)?;
    let tables = control.store.view();
    let stored = tables.get::<Service>(id).ok_or_else(|| not_found("service", id))?;
    let mut service = Service::clone(stored);
    if request.insert_defaults {
        service.spec.as_mut().map(defaults::fill_in);
    }
    Ok(GetServiceResponse { service: Some(service) })
}

pub(super) fn list(
    control: &Control,
    request: ListServicesRequest,
) -> Result<ListServicesResponse, Failure> {
    let filters = request.filters.unwrap_or_default();
    let selection = selection!(filters);
    let tables = control.store.view();
    let admitted = tables.iter::<Service>().filter(|service| {
        let spec = service.spec.as_ref().and_then(|spec| spec.task.as_deref());
        selection.admits(&***service) && task::is_of_runtime(spec, &filters.runtimes)
    });
    Ok(ListServicesResponse { services: admitted.map(|service| Service::clone(service)).collect() })
}

pub(super) async fn create(
    control: &Control,
    request: CreateServiceRequest,
) -> Result<CreateServiceResponse, Failure> {
    let spec = request.spec.ok_or_else(invalid_argument)?;
    check_service_spec(&spec)?;
    let id = new_id();
    let created = control
        .store
        .update(|transaction| {
            check_surroundings(transaction, &spec)?;
            check_port_conflicts(transaction, &spec, None)?;
            let last_execution = Some(from_system_time(transaction.now()));
            let job_status = is_job(&spec).then(|| JobStatus {
                job_iteration: Some(Version::default()),
                last_execution,
                cron: cron::of_new_job(&spec),
            });
            let service = Service {
                id: id.clone(),
                spec: Some(spec.clone()),
                spec_version: Some(Version::default()),
                spec_replaced_at: Some(Version::default()),
                job_status,
                ..Service::default()
            };
            check_ingress(transaction, &service)?;
            transaction.create(service)?;
            Ok::<_, Failure>(stored(transaction, &id))
        })
        .await;
    match created {
        Err(Failure::Store(error @ Error::NameConflict { .. })) => {
            let name = spec.annotations.map_or(String::new(), |annotations| annotations.name);
            Err(Status::already_exists(format!("{error}: service {name} already exists")).into())
        }
        other => Ok(CreateServiceResponse { service: other? }),
    }
}

pub(super) async fn update(
    control: &Control,
    request: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, Failure> {
    let id = required(&request.service_id)?;
    let version = request.service_version.ok_or_else(invalid_argument)?;
    let rollback = request.rollback() == Rollback::Previous;
    let spec = request.spec.clone().ok_or_else(invalid_argument)?;
    check_service_spec(&spec)?;
    let service = control
        .store
        .update(|transaction| {
            let present =
                transaction.get::<Service>(id).ok_or_else(|| not_found("service", id))?.clone();
            check_change(transaction, &present, &spec)?;
            check_version(&present, version.index)?;
            let mut service = Service::clone(&present);
            if cron::runs_job(present.spec.as_ref(), &spec, rollback) {
                begin_next_job(&mut service, transaction);
            }
            if rollback {
                roll_back(&mut service, transaction)?;
            } else {
                replace_spec(&mut service, spec);
            }
            service.spec_replaced_at = Some(Version { index: present.version() });
            check_ingress(transaction, &service)?;
            transaction.update(service)?;
            Ok::<_, Failure>(stored(transaction, id))
        })
        .await?;
    Ok(UpdateServiceResponse { service })
}

pub(super) async fn remove(
    control: &Control,
    request: RemoveServiceRequest,
) -> Result<RemoveServiceResponse, Failure> {
    let id = required(&request.service_id)?;
    let removed = control.store.update(|transaction| transaction.delete::<Service>(id)).await;
    match removed {
        Err(Error::NotFound { .. }) => Err(not_found("service", id).into()),
        other => Ok(other.map(|()| RemoveServiceResponse {})?),
    }
}

/// The service as the transaction leaves it, for the answer.
fn stored(transaction: &Transaction<'_>, id: &str) -> Option<Service> {
    transaction.get::<Service>(id).map(|service| Service::clone(service))
}

/// What the spec refers to must be there.
fn check_surroundings(tables: &Tables, spec: &ServiceSpec) -> Result<(), Status> {
    check_networks(tables, spec)?;
    check_references(tables, spec)
}

/// What may not change in an update, and what a change must not collide with.
#[expect(deprecated, reason = "older clients still attach networks by the old field")]
fn check_change(tables: &Tables, present: &Service, spec: &ServiceSpec) -> Result<(), Failure> {
    let empty = ServiceSpec::default();
    let present_spec = present.spec.as_ref().unwrap_or(&empty);
    if spec.endpoint.is_some() && spec.endpoint != present_spec.endpoint {
        check_port_conflicts(tables, spec, Some(&present.id))?;
    }
    let task_networks = |spec: &ServiceSpec| spec.task.as_ref().map(|task| task.networks.clone());
    if spec.networks != present_spec.networks && task_networks(spec) == task_networks(present_spec)
    {
        return Err(Status::unimplemented(
            "networks must be migrated to TaskSpec before being changed",
        )
        .into());
    }
    check_surroundings(tables, spec)?;
    if kind(spec) != kind(present_spec) {
        return Err(Status::unimplemented("service mode change is not allowed").into());
    }
    let name = spec.annotations.as_ref().map_or("", |annotations| &annotations.name);
    if name != present.name() {
        return Err(Status::unimplemented("renaming services is not supported").into());
    }
    Ok(())
}

fn kind(spec: &ServiceSpec) -> Option<std::mem::Discriminant<Mode>> {
    spec.mode.as_ref().map(std::mem::discriminant)
}

/// An update of a job is its next run.
fn begin_next_job(service: &mut Service, transaction: &Transaction<'_>) {
    if let Some(status) = service.job_status.as_mut() {
        cron::begin_run(status, transaction.now());
    }
}

fn roll_back(service: &mut Service, transaction: &Transaction<'_>) -> Result<(), Status> {
    let Some(previous) = service.previous_spec.take() else {
        return Err(Status::failed_precondition(format!(
            "service {} does not have a previous spec",
            service.id
        )));
    };
    service.previous_spec = service.spec.replace(previous);
    std::mem::swap(&mut service.spec_version, &mut service.previous_spec_version);
    service.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted.into(),
        started_at: Some(from_system_time(transaction.now())),
        message: "manually requested rollback".to_owned(),
        ..UpdateStatus::default()
    });
    Ok(())
}

/// Whether the caller has seen the spec as it is. SwarmKit refuses whoever has not seen the last write of the service,
/// which during an update is as likely as not that of its status.
fn check_version(present: &Service, seen: u64) -> Result<(), Error> {
    let replaced_at = present.spec_replaced_at.map(|version| version.index);
    let is_known = seen <= present.version() && replaced_at.is_some_and(|at| seen > at);
    // Nothing is known of a spec that another kind of manager wrote.
    if is_known || seen == present.version() {
        return Ok(());
    }
    Err(Error::OutOfSequence { kind: Kind::Service, id: present.id.clone() })
}

/// The version of a spec is that of the service when the spec came; the two are not comparable.
fn replace_spec(service: &mut Service, spec: ServiceSpec) {
    let version = Version { index: service.version() };
    service.previous_spec = service.spec.replace(spec);
    service.previous_spec_version = service.spec_version.replace(version);
    service.update_status = None;
}
