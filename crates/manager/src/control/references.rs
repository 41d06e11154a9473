//! Secrets and configs that services use: whether references are well-formed, whether they lead anywhere, and who
//! still refers to what.

use std::collections::HashMap;

use swarm_proto::v1::privileges::credential_spec::Source;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{
    Config, ContainerSpec, Secret, Service, ServiceSpec, config_reference, secret_reference,
};
use swarm_store::{Object, Tables};
use tonic::Status;

/// Files in a container, with the object that each comes from: no two may have one path.
struct Targets<'a> {
    kind: &'static str,
    taken: HashMap<&'a str, &'a str>,
}

impl<'a> Targets<'a> {
    fn new(kind: &'static str) -> Self {
        Self { kind, taken: HashMap::new() }
    }

    fn add(&mut self, file: &'a str, name: &'a str) -> Result<(), Status> {
        let kind = self.kind;
        if file.is_empty() {
            return Err(Status::invalid_argument(format!(
                "malformed file {kind} reference, invalid target file name provided"
            )));
        }
        match self.taken.insert(file, name) {
            Some(first) => Err(Status::invalid_argument(format!(
                "{kind} references '{first}' and '{name}' have a conflicting target: '{file}'"
            ))),
            None => Ok(()),
        }
    }
}

fn malformed(kind: &str) -> Status {
    Status::invalid_argument(format!("malformed {kind} reference"))
}

fn without_target(kind: &str) -> Status {
    Status::invalid_argument(format!("malformed {kind} reference, no target provided"))
}

pub(super) fn check_secret_references(container: &ContainerSpec) -> Result<(), Status> {
    let mut targets = Targets::new("secret");
    for reference in &container.secrets {
        if reference.secret_id.is_empty() || reference.secret_name.is_empty() {
            return Err(malformed("secret"));
        }
        let secret_reference::Target::File(file) =
            reference.target.as_ref().ok_or_else(|| without_target("secret"))?;
        targets.add(&file.name, &reference.secret_name)?;
    }
    Ok(())
}

pub(super) fn check_config_references(container: &ContainerSpec) -> Result<(), Status> {
    let mut targets = Targets::new("config");
    let mut at_runtime = Vec::new();
    for reference in &container.configs {
        if reference.config_id.is_empty() || reference.config_name.is_empty() {
            return Err(malformed("config"));
        }
        match reference.target.as_ref().ok_or_else(|| without_target("config"))? {
            config_reference::Target::File(file) => {
                targets.add(&file.name, &reference.config_name)?;
            }
            config_reference::Target::Runtime(_) => at_runtime.push(&reference.config_id),
        }
    }
    match credential_config(container) {
        Some(config) if !at_runtime.contains(&config) => Err(Status::invalid_argument(format!(
            "CredentialSpec references config '{config}', \
             but that config isn't in config references with RuntimeTarget"
        ))),
        _ => Ok(()),
    }
}

/// The config that a credential spec is taken from.
fn credential_config(container: &ContainerSpec) -> Option<&String> {
    let credentials = container.privileges.as_ref()?.credential_spec.as_ref()?;
    match credentials.source.as_ref()? {
        Source::Config(config) => Some(config).filter(|config| !config.is_empty()),
        _ => None,
    }
}

/// All secrets and configs that a spec refers to must be there, under the names that it gives.
pub(super) fn check_references(tables: &Tables, spec: &ServiceSpec) -> Result<(), Status> {
    let Some(container) = container(spec) else { return Ok(()) };
    let secrets = container.secrets.iter().map(|r| (&r.secret_id, &r.secret_name));
    check_present::<Secret>(tables, "secret", secrets)?;
    let configs = container.configs.iter().map(|r| (&r.config_id, &r.config_name));
    check_present::<Config>(tables, "config", configs)
}

fn check_present<'a, T: Object>(
    tables: &Tables,
    kind: &str,
    references: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), Status> {
    let missing: Vec<&str> = references
        .filter(|(id, name)| {
            tables.get::<T>(id).is_none_or(|object| object.name() != name.as_str())
        })
        .map(|(_, name)| name.as_str())
        .collect();
    let plural = if missing.len() == 1 { "" } else { "s" };
    if missing.is_empty() {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("{kind}{plural} not found: {}", missing.join(", "))))
}

/// Refuses to remove what services still use; `uses` tells whether a container does.
pub(super) fn check_unused(
    tables: &Tables,
    kind: &str,
    name: &str,
    uses: impl Fn(&ContainerSpec) -> bool,
) -> Result<(), Status> {
    let is_user = |service: &&std::sync::Arc<Service>| {
        service.spec.as_ref().and_then(container).is_some_and(&uses)
    };
    let users: Vec<&str> =
        tables.iter::<Service>().filter(is_user).map(|service| service.name()).collect();
    let plural = if users.len() == 1 { "" } else { "s" };
    if users.is_empty() {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "{kind} '{name}' is in use by the following service{plural}: {}",
        users.join(", ")
    )))
}

fn container(spec: &ServiceSpec) -> Option<&ContainerSpec> {
    match spec.task.as_ref()?.runtime.as_ref()? {
        Runtime::Container(container) => Some(container),
        _ => None,
    }
}
