//! CPU, memory and generic resources: limits and reservations of a task, capacity of a node.

use swarm_proto::v1;
use swarm_proto::v1::generic_resource::Resource;

use crate::error::ApiError;
use crate::wire;

pub(crate) fn requirements(
    json: &wire::ResourceRequirements,
) -> Result<v1::ResourceRequirements, ApiError> {
    let limits = json.limits.as_ref().map(|l| v1::Resources {
        nano_cpus: l.nano_cpus,
        memory_bytes: l.memory_bytes,
        generic: Vec::new(),
    });
    let memory_limited = limits.as_ref().is_some_and(|l| l.memory_bytes != 0);
    if json.swap_bytes.is_some() && !memory_limited {
        return Err(ApiError::invalid("memory swap provided, but no memory-limit was set"));
    }
    Ok(v1::ResourceRequirements {
        limits,
        reservations: json.reservations.as_ref().map(reservations).transpose()?,
        swap_bytes: json.swap_bytes,
        memory_swappiness: json.memory_swappiness,
    })
}

fn reservations(json: &wire::Resources) -> Result<v1::Resources, ApiError> {
    Ok(v1::Resources {
        nano_cpus: json.nano_cpus,
        memory_bytes: json.memory_bytes,
        generic: generic(&json.generic_resources)?,
    })
}

/// The limit of processes is part of the container in SwarmKit, and of the limits in Docker's JSON.
pub(crate) fn requirements_json(
    task: &v1::TaskSpec,
    pids: i64,
) -> Option<wire::ResourceRequirements> {
    let mut json = task.resources.as_ref().map(|r| wire::ResourceRequirements {
        limits: r.limits.as_ref().map(|l| wire::Limit {
            nano_cpus: l.nano_cpus,
            memory_bytes: l.memory_bytes,
            pids: 0,
        }),
        reservations: r.reservations.as_ref().map(resources_json),
        swap_bytes: r.swap_bytes,
        memory_swappiness: r.memory_swappiness,
    });
    if pids != 0 {
        json.get_or_insert_default().limits.get_or_insert_default().pids = pids;
    }
    json
}

pub(crate) fn resources_json(resources: &v1::Resources) -> wire::Resources {
    wire::Resources {
        nano_cpus: resources.nano_cpus,
        memory_bytes: resources.memory_bytes,
        generic_resources: generic_json(&resources.generic),
    }
}

fn generic(list: &[wire::GenericResource]) -> Result<Vec<v1::GenericResource>, ApiError> {
    let resource = |json: &wire::GenericResource| match (&json.discrete, &json.named) {
        (Some(d), None) => Ok(Resource::DiscreteResourceSpec(v1::DiscreteGenericResource {
            kind: d.kind.clone(),
            value: d.value,
        })),
        (None, Some(n)) => Ok(Resource::NamedResourceSpec(v1::NamedGenericResource {
            kind: n.kind.clone(),
            value: n.value.clone(),
        })),
        _ => Err(ApiError::invalid(
            "invalid generic resource: must be either a NamedResourceSpec or a DiscreteResourceSpec",
        )),
    };
    list.iter().map(|json| Ok(v1::GenericResource { resource: Some(resource(json)?) })).collect()
}

pub(crate) fn generic_json(list: &[v1::GenericResource]) -> Vec<wire::GenericResource> {
    let json = |generic: &v1::GenericResource| match &generic.resource {
        Some(Resource::DiscreteResourceSpec(d)) => wire::GenericResource {
            discrete: Some(wire::DiscreteResource { kind: d.kind.clone(), value: d.value }),
            named: None,
        },
        Some(Resource::NamedResourceSpec(n)) => wire::GenericResource {
            discrete: None,
            named: Some(wire::NamedResource { kind: n.kind.clone(), value: n.value.clone() }),
        },
        None => wire::GenericResource::default(),
    };
    list.iter().map(json).collect()
}
