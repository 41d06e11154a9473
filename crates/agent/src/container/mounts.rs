//! The mounts of a task in the engine's vocabulary.
//!
//! Mirrors moby's `convertMount` and `validateMounts`, whose messages the task's status carries. Options are the
//! engine's matter.

use bollard_stubs::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use swarm_proto::v1;
use swarm_proto::v1::mount::Type;
use swarm_proto::v1::mount::bind_options::Propagation;

use super::spec::{number, text};

/// A mount for the engine.
///
/// # Errors
/// A text for the task's status where no container can have such a mount here.
pub(super) fn mount(mount: &v1::Mount) -> Result<Mount, String> {
    let typ = check(mount)?;
    Ok(Mount {
        target: Some(mount.target.clone()),
        source: text(&mount.source),
        typ: Some(typ),
        read_only: Some(mount.readonly),
        bind_options: mount.bind_options.as_ref().map(bind_options),
        volume_options: mount.volume_options.as_ref().map(volume_options),
        tmpfs_options: mount.tmpfs_options.as_ref().map(|options| MountTmpfsOptions {
            size_bytes: number(options.size_bytes),
            mode: number(options.mode.into()),
            // SwarmKit carries the JSON of the API's list.
            options: serde_json::from_str(&options.options).unwrap_or_default(),
        }),
        ..Mount::default()
    })
}

/// The type of a mount whose paths are what that type needs.
fn check(mount: &v1::Mount) -> Result<MountType, String> {
    let (source, target) = (&mount.source, &mount.target);
    if !target.starts_with('/') {
        return Err(format!("invalid mount target, must be an absolute path: {target}"));
    }
    let is_absolute = source.starts_with('/');
    match mount.r#type() {
        Type::Bind if !is_absolute => {
            Err(format!("invalid bind mount source, must be an absolute path: {source}"))
        }
        Type::Volume if is_absolute => {
            Err(format!("invalid volume mount source, must not be an absolute path: {source}"))
        }
        Type::Tmpfs if !source.is_empty() => {
            Err("invalid tmpfs source, source must be empty".to_owned())
        }
        Type::Bind => Ok(MountType::BIND),
        Type::Volume => Ok(MountType::VOLUME),
        Type::Tmpfs => Ok(MountType::TMPFS),
        other => Err(format!(
            "mounts of type {} are not supported by this node",
            other.as_str_name().to_lowercase()
        )),
    }
}

fn bind_options(options: &v1::mount::BindOptions) -> MountBindOptions {
    let propagation = match options.propagation() {
        Propagation::Rprivate => MountBindOptionsPropagationEnum::RPRIVATE,
        Propagation::Private => MountBindOptionsPropagationEnum::PRIVATE,
        Propagation::Rshared => MountBindOptionsPropagationEnum::RSHARED,
        Propagation::Shared => MountBindOptionsPropagationEnum::SHARED,
        Propagation::Rslave => MountBindOptionsPropagationEnum::RSLAVE,
        Propagation::Slave => MountBindOptionsPropagationEnum::SLAVE,
    };
    MountBindOptions {
        propagation: Some(propagation),
        non_recursive: Some(options.nonrecursive),
        create_mountpoint: Some(options.createmountpoint),
        read_only_non_recursive: Some(options.readonlynonrecursive),
        read_only_force_recursive: Some(options.readonlyforcerecursive),
    }
}

fn volume_options(options: &v1::mount::VolumeOptions) -> MountVolumeOptions {
    MountVolumeOptions {
        no_copy: Some(options.nocopy),
        labels: Some(options.labels.clone().into_iter().collect()),
        driver_config: options.driver_config.as_ref().map(|driver| {
            MountVolumeOptionsDriverConfig {
                name: text(&driver.name),
                options: Some(driver.options.clone().into_iter().collect()),
            }
        }),
        subpath: text(&options.subpath),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_paths_that_do_not_fit() {
        for (kind, source, target, expect) in [
            (Type::Bind, "/a", "/b", None),
            (Type::Volume, "", "/b", None),
            (Type::Volume, "v", "b", Some("invalid mount target, must be an absolute path: b")),
            (Type::Bind, "a", "/b", Some("invalid bind mount source, must be an absolute path: a")),
            (
                Type::Volume,
                "/a",
                "/b",
                Some("invalid volume mount source, must not be an absolute path: /a"),
            ),
            (Type::Tmpfs, "a", "/b", Some("invalid tmpfs source, source must be empty")),
            (
                Type::Cluster,
                "a",
                "/b",
                Some("mounts of type cluster are not supported by this node"),
            ),
        ] {
            let asked = v1::Mount {
                r#type: kind.into(),
                source: source.into(),
                target: target.into(),
                ..v1::Mount::default()
            };
            assert_eq!(mount(&asked).err().as_deref(), expect);
        }
    }
}
