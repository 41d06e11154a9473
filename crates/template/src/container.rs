//! The parts of a container's specification that are templates: environment, mounts, hostname.

use std::collections::HashMap;

use swarm_proto::v1::{ContainerSpec, Mount};

use crate::{Context, Error};

/// Expands a specification in place. Of an environment variable only the value is a template.
///
/// # Errors
/// Says which part failed and why, in SwarmKit's words.
pub fn expand_container(spec: &mut ContainerSpec, context: &Context) -> Result<(), Error> {
    for variable in &mut spec.env {
        let Some((name, value)) = variable.split_once('=') else { continue };
        let expanded = context.expand(value).map_err(|error| {
            error.of(format!("expanding env {variable:?}")).of("expanding env failed")
        })?;
        *variable = format!("{name}={expanded}");
    }
    for mount in &mut spec.mounts {
        expand_mount(mount, context).map_err(|error| error.of("expanding mounts failed"))?;
    }
    let hostname = context.expand(&spec.hostname);
    spec.hostname = hostname.map_err(|error| error.of("expanding hostname failed"))?;
    Ok(())
}

fn expand_mount(mount: &mut Mount, context: &Context) -> Result<(), Error> {
    for (what, text) in [("source", &mut mount.source), ("target", &mut mount.target)] {
        let expanded = context.expand(text);
        *text = expanded.map_err(|error| error.of(format!("expanding mount {what} {text:?}")))?;
    }
    let Some(options) = &mut mount.volume_options else { return Ok(()) };
    expand_map(&mut options.labels, context).map_err(|e| e.of("expanding volume labels"))?;
    match &mut options.driver_config {
        Some(driver) => expand_map(&mut driver.options, context)
            .map_err(|error| error.of("expanding volume driver config")),
        None => Ok(()),
    }
}

fn expand_map(map: &mut HashMap<String, String>, context: &Context) -> Result<(), Error> {
    for (key, value) in map.iter_mut() {
        let expanded = context.expand(value);
        *value = expanded.map_err(|e| e.of(format!("expanding map entry {key:?}={value:?}")))?;
    }
    Ok(())
}
