//! `docker create`: checks the request, merges the image's defaults, and writes the container's record.
//!
//! Nothing runs and nothing is mounted here. Merging mirrors moby's `runconfig` merge.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use bollard_stubs::models::{
    ContainerConfig, ContainerCreateBody, ContainerCreateResponse, HostConfig, HostConfigLogConfig,
    ImageConfig,
};

use super::record::VERSION;
use super::{Container, ContainerId, Record, State, health, names, validate};
use crate::engine::Engine;
use crate::error::{Error, Result, io as io_error};
use crate::timestamp;

/// Attempts at a made-up name that nobody has.
const NAME_ATTEMPTS_MAX: u32 = 6;

impl Engine {
    /// Creates a container; it gets a made-up name unless one is given.
    pub async fn create(
        &self,
        name: Option<String>,
        body: ContainerCreateBody,
    ) -> Result<ContainerCreateResponse> {
        let name = name.filter(|name| !name.is_empty());
        let name = name.as_deref().map(names::validate).transpose()?.map(str::to_owned);
        let (mut config, mut host, networks) = split(body);
        let reference = config.image.clone().unwrap_or_default();
        let image = self.inner.images.resolve(&reference)?;
        merge(&mut config, image.config());
        self.fill_defaults(&mut host);
        let warnings = validate::check(&config, &host, &self.inner.config)?;
        let id = ContainerId::random();
        if config.hostname.as_deref().unwrap_or_default().is_empty() {
            config.hostname = Some(id.short().to_owned());
        }
        let name = self.take_name(name, &id)?;
        let record = Record {
            version: VERSION,
            id: id.clone(),
            name: name.clone(),
            created: timestamp::now(),
            image: reference,
            image_id: image.id.as_str().to_owned(),
            config,
            host,
            networks,
            mounts: Vec::new(),
            state: State::created(),
            restart_count: 0,
            manually_stopped: false,
            attachment: None,
        };
        let made = self.make(record);
        if made.is_err() {
            self.with_registry(|registry| registry.release_name(&name));
        }
        let container = made?;
        container.publish(&self.inner.events, "create", &[]);
        Ok(ContainerCreateResponse { id: id.to_string(), warnings })
    }

    fn make(&self, mut record: Record) -> Result<Arc<Container>> {
        record.mounts = self.plan_mounts(&record)?;
        let container = Arc::new(Container::new(record, &self.inner.config));
        let prepared = fs::create_dir_all(&container.folder)
            .map_err(io_error(container.folder.display()))
            .and_then(|()| container.overlay.create())
            .and_then(|()| container.read(|record| record.save(&container.folder, true)));
        if let Err(error) = prepared {
            let _ = container.overlay.remove();
            let _ = fs::remove_dir_all(&container.folder);
            let _ = container.read(|record| self.release_volumes(record, true));
            return Err(error);
        }
        self.with_registry(|registry| registry.insert(container.clone()));
        Ok(container)
    }

    fn take_name(&self, wanted: Option<String>, id: &ContainerId) -> Result<String> {
        if let Some(name) = wanted {
            self.with_registry(|registry| registry.reserve_name(&name, id))?;
            return Ok(name);
        }
        for attempt in 0..NAME_ATTEMPTS_MAX {
            let name = names::generate(attempt);
            if self.with_registry(|registry| registry.reserve_name(&name, id)).is_ok() {
                return Ok(name);
            }
        }
        let name = id.short().to_owned();
        self.with_registry(|registry| registry.reserve_name(&name, id))?;
        Ok(name)
    }

    fn fill_defaults(&self, host: &mut HostConfig) {
        let defaults = &self.inner.config.log_defaults;
        let log = host.log_config.get_or_insert_with(HostConfigLogConfig::default);
        let driver = log.typ.get_or_insert_default();
        if driver.is_empty() {
            let name = if defaults.driver.is_empty() { "json-file" } else { &defaults.driver };
            name.clone_into(driver);
        }
        if *driver == defaults.driver || (defaults.driver.is_empty() && *driver == "json-file") {
            let options = log.config.get_or_insert_default();
            for (key, value) in &defaults.options {
                options.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let mode = host.network_mode.get_or_insert_default();
        if mode.is_empty() || mode == "default" {
            *mode = if self.inner.bridge.is_some() { "bridge" } else { "none" }.to_owned();
        }
    }
}

type Parts =
    (ContainerConfig, HostConfig, HashMap<String, bollard_stubs::models::EndpointSettings>);

/// The request's body is a `ContainerConfig` with two more fields.
fn split(body: ContainerCreateBody) -> Parts {
    let config = ContainerConfig {
        hostname: body.hostname,
        domainname: body.domainname,
        user: body.user,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        exposed_ports: body.exposed_ports,
        tty: body.tty,
        open_stdin: body.open_stdin,
        stdin_once: body.stdin_once,
        env: body.env,
        cmd: body.cmd,
        healthcheck: body.healthcheck,
        args_escaped: body.args_escaped,
        image: body.image,
        volumes: body.volumes,
        working_dir: body.working_dir,
        entrypoint: body.entrypoint,
        network_disabled: body.network_disabled,
        on_build: body.on_build,
        labels: body.labels,
        stop_signal: body.stop_signal,
        stop_timeout: body.stop_timeout,
        shell: body.shell,
    };
    let networks = body.networking_config.and_then(|n| n.endpoints_config).unwrap_or_default();
    (config, body.host_config.unwrap_or_default(), networks)
}

/// Fills what the user left open from the image.
fn merge(config: &mut ContainerConfig, image: ImageConfig) {
    let empty_text = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let empty_list = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().is_empty();
    if empty_text(&config.user) {
        config.user = image.user;
    }
    if empty_text(&config.working_dir) {
        config.working_dir = image.working_dir;
    }
    if empty_text(&config.stop_signal) {
        config.stop_signal = image.stop_signal;
    }
    health::merge(&mut config.healthcheck, image.healthcheck);
    if config.shell.is_none() {
        config.shell = image.shell;
    }
    // A new entrypoint makes the image's arguments meaningless.
    if empty_list(&config.entrypoint) {
        if empty_list(&config.cmd) {
            config.cmd = image.cmd;
        }
        if config.entrypoint.is_none() {
            config.entrypoint = image.entrypoint;
        }
    }
    // Docker's way to say "no entrypoint at all".
    if config.entrypoint.as_deref().is_some_and(|e| e.len() == 1 && e[0].is_empty()) {
        config.entrypoint = None;
    }
    merge_env(config, image.env.unwrap_or_default());
    let labels = config.labels.get_or_insert_default();
    for (key, value) in image.labels.unwrap_or_default() {
        labels.entry(key).or_insert(value);
    }
    for (own, others) in
        [(&mut config.exposed_ports, image.exposed_ports), (&mut config.volumes, image.volumes)]
    {
        for other in others.unwrap_or_default() {
            let own = own.get_or_insert_default();
            if !own.contains(&other) {
                own.push(other);
            }
        }
    }
}

fn merge_env(config: &mut ContainerConfig, image: Vec<String>) {
    let own = config.env.get_or_insert_default();
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let set: Vec<String> = own.iter().map(|variable| name(variable)).collect();
    let mut merged: Vec<String> =
        image.into_iter().filter(|variable| !set.contains(&name(variable))).collect();
    merged.append(own);
    *own = merged;
}

/// Docker's refusal of a container without a program.
pub(super) fn no_command() -> Error {
    Error::invalid("no command specified")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Option<Vec<String>> {
        Some(items.iter().map(|item| (*item).to_owned()).collect())
    }

    #[test]
    fn merges_command_and_entrypoint() {
        let image = || ImageConfig {
            entrypoint: list(&["/entry"]),
            cmd: list(&["serve"]),
            ..Default::default()
        };
        let check = |entrypoint, cmd, expect: &[&str]| {
            let mut config = ContainerConfig { entrypoint, cmd, ..Default::default() };
            merge(&mut config, image());
            let entrypoint = config.entrypoint.unwrap_or_default();
            let args: Vec<String> =
                entrypoint.into_iter().chain(config.cmd.unwrap_or_default()).collect();
            assert_eq!(args, expect);
        };
        check(None, None, &["/entry", "serve"]);
        check(None, list(&["help"]), &["/entry", "help"]);
        check(list(&["/bin/sh"]), None, &["/bin/sh"]);
        check(list(&["/bin/sh"]), list(&["-c"]), &["/bin/sh", "-c"]);
        check(list(&[""]), list(&["true"]), &["true"]);
    }

    #[test]
    fn merges_environment() {
        let mut config = ContainerConfig { env: list(&["A=2", "C=3"]), ..Default::default() };
        let env = list(&["A=1", "B=1"]);
        merge(&mut config, ImageConfig { env, ..Default::default() });
        assert_eq!(config.env, list(&["B=1", "A=2", "C=3"]));
    }
}
