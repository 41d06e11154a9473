//! `docker start`: mounts, network and specification, then a shim that creates and starts the container.
//!
//! Whatever was made is undone when a later step fails, and the reason stays in the container's state.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_stubs::models::HostConfig;
use swarm_network::Attachment;

use super::health::{Health, HealthCheck};
use super::logs::LogRotation;
use super::shim_client::{ShimClient, launch};
use super::validate::BUILT_IN_RUNTIME;
use super::{Container, Record, Status, files};
use crate::engine::Engine;
use crate::error::{Error, ErrorClass, Result, io as io_error};
use crate::rootfs::Root;
use crate::shim::{CONFIG_FILE, LaunchReply, SECCOMP_FILE, ShimConfig};
use crate::spec::capabilities::{self, CapabilitySet};
use crate::spec::{self, NetworkNamespace, SpecInput, devices, user};
use crate::{seccomp, timestamp};

impl Engine {
    /// Starts a container. One that runs answers [`ErrorClass::NotModified`].
    pub async fn start(&self, reference: &str) -> Result<()> {
        let container = self.container(reference)?;
        if container.read(|record| record.state.status) == Status::Restarting {
            self.cancel_restart(&container)?;
        }
        let _operation = container.operation.lock().await;
        container.update(false, |record| {
            record.manually_stopped = false;
            record.restart_count = 0;
        })?;
        self.start_locked(&container).await
    }

    /// Starts a container whose operation lock the caller holds.
    pub(crate) async fn start_locked(&self, container: &Arc<Container>) -> Result<()> {
        match container.read(|record| record.state.status) {
            Status::Running => {
                let message = format!("container {} is already running", container.id);
                return Err(Error::new(ErrorClass::NotModified, message));
            }
            status if status == Status::Removing || container.is_marked_for_removal() => {
                let message = "container is marked for removal and cannot be started";
                return Err(Error::conflict(message));
            }
            _ => {}
        }
        match self.launch_container(container).await {
            Ok(()) => {
                container.publish(&self.inner.events, "start", &[]);
                Ok(())
            }
            Err((error, exit_code)) => {
                self.tear_down(container).await;
                container.update(true, |record| {
                    record.state.status =
                        if record.state.started_at == 0 { Status::Created } else { Status::Exited };
                    record.state.exit_code = exit_code;
                    record.state.error = error.to_string();
                })?;
                if container.read(|record| record.host.auto_remove == Some(true)) {
                    self.remove_stopped(container, true).await?;
                }
                Err(error)
            }
        }
    }

    async fn launch_container(
        &self,
        container: &Arc<Container>,
    ) -> std::result::Result<(), (Error, i32)> {
        let system = |error| (error, 128);
        let attachment = self.prepare(container).await.map_err(system)?;
        let reply = launch(&self.inner.config, &container.bundle).await.map_err(system)?;
        let pid = match reply {
            LaunchReply { pid: Some(pid), .. } => pid,
            LaunchReply { error, exit_code, .. } => {
                return Err((launch_error(&error.unwrap_or_default(), exit_code), exit_code));
            }
        };
        let connected = ShimClient::connect(&container.bundle).await;
        let (client, end) = match connected {
            Ok(connected) => connected,
            // A container that is done before we could connect left its record; otherwise the shim is lost.
            Err(_) if container.exit_path().exists() => {
                self.mark_running(container, pid, attachment).map_err(system)?;
                let (engine, container) = (self.clone(), container.clone());
                tokio::spawn(async move { engine.ended(container, pid, None).await });
                return Ok(());
            }
            Err(error) => return Err(system(io_error("connecting to the shim")(error))),
        };
        container.set_shim(Some(client));
        self.mark_running(container, pid, attachment).map_err(system)?;
        self.watch(container.clone(), end, pid);
        self.monitor_health(container, pid);
        Ok(())
    }

    fn mark_running(
        &self,
        container: &Container,
        pid: i32,
        attachment: Option<Attachment>,
    ) -> Result<()> {
        let started = container.update(false, |record| {
            record.state.status = Status::Running;
            record.state.pid = pid;
            record.state.exit_code = 0;
            record.state.error = String::new();
            record.state.oom_killed = false;
            record.state.started_at = timestamp::now_nanos();
            record.attachment = attachment;
            let before = record.state.health.take();
            record.state.health =
                HealthCheck::of(&record.config).map(|_| Health::starting(before.as_ref()));
        });
        started.map(drop)
    }

    /// Everything up to the bundle; what it makes is undone by [`Engine::tear_down`].
    async fn prepare(&self, container: &Arc<Container>) -> Result<Option<Attachment>> {
        let record = container.record();
        let rootfs = container.overlay.mount(&self.inner.images.lower_dirs(&record.image_id)?)?;
        let (network, attachment) = self.attach_network(container, &record).await?;
        files::write(container, &record, attachment.as_ref(), &self.inner.config)?;
        self.write_bundle(container, &record, &rootfs, network)?;
        Ok(attachment)
    }

    fn write_bundle(
        &self,
        container: &Container,
        record: &Record,
        rootfs: &Path,
        network: NetworkNamespace,
    ) -> Result<()> {
        let in_root = |e| io_error("reading the container's root")(e);
        let root = Root::open(rootfs).map_err(in_root)?;
        if let Some(dir) = record.config.working_dir.as_deref().filter(|d| !d.is_empty()) {
            root.create_dir_all(Path::new(dir)).map_err(io_error(dir))?;
        }
        let host = &record.host;
        let identity = user::resolve(
            record.config.user.as_deref().unwrap_or_default(),
            host.group_add.as_deref().unwrap_or_default(),
            &root.read_text(Path::new("/etc/passwd")).map_err(in_root)?,
            &root.read_text(Path::new("/etc/group")).map_err(in_root)?,
        )?;
        let security = Security::of(host)?;
        let kept = capabilities::effective(
            spec::is_privileged(host),
            host.cap_add.as_deref().unwrap_or_default(),
            host.cap_drop.as_deref().unwrap_or_default(),
        )?;
        let runtime = self.runtime(host)?;
        let profile = security.profile(spec::is_privileged(host), kept)?;
        let cgroup = self.inner.config.cgroup(container.id.as_str());
        let mounts = self.resolve_mounts(record, rootfs, &root)?;
        let devices = devices::resolve(host)?;
        let loopback = runtime.is_none() && network == NetworkNamespace::Fresh;
        let specification = spec::build(&SpecInput {
            config: &record.config,
            host,
            args: record.args(),
            rootfs,
            files: &container.folder,
            cgroup: cgroup.clone(),
            private_cgroup: self.inner.cgroups.is_unified(),
            limits_swap: self.inner.cgroups.limits_swap(),
            network,
            mounts: &mounts,
            devices: &devices,
            user: identity,
            capabilities: runtime.is_some().then_some(kept),
            seccomp: profile.clone().filter(|_| runtime.is_some()),
            no_new_privileges: security.no_new_privileges,
        })?;
        let rotation = host.log_config.as_ref().map(LogRotation::of).transpose()?;
        let rotation = rotation.unwrap_or_default();
        let json_log = host.log_config.as_ref().is_none_or(|l| l.typ.as_deref() != Some("none"));
        let _ = fs::remove_dir_all(&container.bundle);
        let _ = fs::remove_file(container.exit_path());
        fs::create_dir_all(&container.bundle).map_err(io_error(container.bundle.display()))?;
        let shim = ShimConfig {
            version: 1,
            id: container.id.to_string(),
            runtime: runtime.clone(),
            log_path: json_log.then(|| container.log_path()),
            log_size_bytes_max: rotation.size_bytes_max,
            log_files_max: rotation.files_max,
            exit_path: container.exit_path(),
            oom_path: self.inner.cgroups.oom_counter(&cgroup),
            shim_cgroups: self.inner.cgroups.tracking(&self.inner.config.cgroup("shims")),
            device_cgroup: self.inner.cgroups.device_program_target(&cgroup),
            capabilities: kept.0,
            init: host.init.unwrap_or(false),
            tty: record.config.tty.unwrap_or(false),
            loopback,
        };
        write_json(&container.bundle.join("config.json"), &specification)?;
        write_json(&container.bundle.join(CONFIG_FILE), &shim)?;
        if let Some(profile) = profile.filter(|_| runtime.is_none()) {
            let path = container.bundle.join(SECCOMP_FILE);
            fs::write(&path, seccomp::compile(&profile)?).map_err(io_error(path.display()))?;
        }
        Ok(())
    }

    /// The external runtime to use, if any.
    fn runtime(&self, host: &HostConfig) -> Result<Option<PathBuf>> {
        let config = &self.inner.config;
        let wanted = host.runtime.as_deref().filter(|name| !name.is_empty());
        let Some(name) = wanted.or(config.default_runtime.as_deref()) else { return Ok(None) };
        if name == BUILT_IN_RUNTIME {
            return Ok(None);
        }
        match config.runtimes.get(name) {
            Some(path) => Ok(Some(path.clone())),
            None if name.starts_with('/') => Ok(Some(PathBuf::from(name))),
            None => Err(Error::invalid(format!("unknown or invalid runtime name: {name}"))),
        }
    }
}

/// What `--security-opt` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Security {
    /// Path-free: `None` is the default profile, `unconfined` none at all, else the profile's JSON.
    seccomp: Option<String>,
    pub(crate) no_new_privileges: bool,
}

impl Security {
    /// Reads the options; unknown ones are refused with Docker's message.
    pub(crate) fn of(host: &HostConfig) -> Result<Self> {
        let mut security = Self::default();
        for option in host.security_opt.iter().flatten() {
            let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match key {
                "no-new-privileges" => security.no_new_privileges = value != "false",
                "seccomp" if value == "builtin" => security.seccomp = None,
                "seccomp" => security.seccomp = Some(value.to_owned()),
                // There is nothing to switch off where the kernel has neither.
                "apparmor" if value == "unconfined" => {}
                "label" if value == "disable" => {}
                _ => {
                    let message = format!("invalid --security-opt 1: \"{option}\"");
                    return Err(Error::invalid(message));
                }
            }
        }
        if let Some(profile) = security.seccomp.as_deref().filter(|p| *p != "unconfined") {
            seccomp::parse(profile, CapabilitySet(0))?;
        }
        Ok(security)
    }

    fn profile(
        &self,
        privileged: bool,
        kept: CapabilitySet,
    ) -> Result<Option<oci_spec::runtime::LinuxSeccomp>> {
        match self.seccomp.as_deref() {
            Some("unconfined") => Ok(None),
            _ if privileged => Ok(None),
            None => seccomp::default_profile(kept).map(Some),
            Some(profile) => seccomp::parse(profile, kept).map(Some),
        }
    }
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(|e| Error::system(format!("{}: {e}", path.display())).with_source(e))?;
    fs::write(path, text).map_err(io_error(path.display()))
}

/// The runtime's refusal as Docker words it; what is wrong with the command is the caller's mistake.
fn launch_error(message: &str, exit_code: i32) -> Error {
    let class = match exit_code {
        126 | 127 => ErrorClass::InvalidParameter,
        _ => ErrorClass::System,
    };
    Error::new(
        class,
        format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: \
             unable to start container process: {message}: unknown"
        ),
    )
}
