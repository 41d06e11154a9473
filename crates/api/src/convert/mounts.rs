//! Mounts of a service's containers.

use swarm_proto::v1;
use swarm_proto::v1::mount::bind_options::Propagation;
use swarm_proto::v1::mount::{self, Consistency, Type};

use super::common::{driver, driver_json};
use crate::error::ApiError;
use crate::wire;

pub(crate) fn mount(json: &wire::Mount) -> Result<v1::Mount, ApiError> {
    let kind = match json.kind.as_str() {
        "" => Type::Bind,
        name => Type::from_str_name(&name.to_uppercase())
            .ok_or_else(|| ApiError::invalid(format!("invalid MountType: {name:?}")))?,
    };
    Ok(v1::Mount {
        r#type: kind.into(),
        source: json.source.clone(),
        target: json.target.clone(),
        readonly: json.read_only,
        consistency: consistency(&json.consistency)?.into(),
        bind_options: json.bind_options.as_ref().map(bind_options).transpose()?,
        volume_options: json.volume_options.as_ref().map(volume_options),
        tmpfs_options: json.tmpfs_options.as_ref().map(tmpfs_options),
    })
}

fn consistency(name: &str) -> Result<Consistency, ApiError> {
    match name {
        "" => Ok(Consistency::Default),
        name => Consistency::from_str_name(&name.to_uppercase())
            .ok_or_else(|| ApiError::invalid(format!("invalid MountConsistency: {name:?}"))),
    }
}

fn bind_options(json: &wire::BindOptions) -> Result<mount::BindOptions, ApiError> {
    let propagation = match json.propagation.as_str() {
        "" => Propagation::Rprivate,
        name => Propagation::from_str_name(&name.to_uppercase())
            .ok_or_else(|| ApiError::invalid(format!("invalid MountPropagation: {name:?}")))?,
    };
    Ok(mount::BindOptions {
        propagation: propagation.into(),
        nonrecursive: json.non_recursive,
        createmountpoint: json.create_mountpoint,
        readonlynonrecursive: json.read_only_non_recursive,
        readonlyforcerecursive: json.read_only_force_recursive,
    })
}

fn volume_options(json: &wire::VolumeOptions) -> mount::VolumeOptions {
    mount::VolumeOptions {
        nocopy: json.no_copy,
        labels: json.labels.clone(),
        driver_config: json.driver_config.as_ref().map(driver),
        subpath: json.subpath.clone(),
    }
}

/// SwarmKit keeps the options of a tmpfs as text; Docker puts the JSON of its list of lists there.
fn tmpfs_options(json: &wire::TmpfsOptions) -> mount::TmpfsOptions {
    let options = match json.options.is_empty() {
        true => "null".to_owned(),
        false => serde_json::to_string(&json.options).unwrap_or_default(),
    };
    mount::TmpfsOptions { size_bytes: json.size_bytes, mode: json.mode, options }
}

pub(crate) fn mount_json(mount: &v1::Mount) -> wire::Mount {
    wire::Mount {
        kind: Type::try_from(mount.r#type).unwrap_or_default().as_str_name().to_lowercase(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.readonly,
        consistency: match Consistency::try_from(mount.consistency).unwrap_or_default() {
            Consistency::Default => String::new(),
            other => other.as_str_name().to_lowercase(),
        },
        bind_options: mount.bind_options.as_ref().map(bind_options_json),
        volume_options: mount.volume_options.as_ref().map(|options| wire::VolumeOptions {
            no_copy: options.nocopy,
            labels: options.labels.clone(),
            subpath: options.subpath.clone(),
            driver_config: options.driver_config.as_ref().map(driver_json),
        }),
        tmpfs_options: mount.tmpfs_options.as_ref().map(|options| wire::TmpfsOptions {
            size_bytes: options.size_bytes,
            mode: options.mode,
            options: serde_json::from_str(&options.options).unwrap_or_default(),
        }),
    }
}

fn bind_options_json(options: &mount::BindOptions) -> wire::BindOptions {
    let propagation = Propagation::try_from(options.propagation).unwrap_or_default();
    wire::BindOptions {
        propagation: propagation.as_str_name().to_lowercase(),
        non_recursive: options.nonrecursive,
        create_mountpoint: options.createmountpoint,
        read_only_non_recursive: options.readonlynonrecursive,
        read_only_force_recursive: options.readonlyforcerecursive,
    }
}
