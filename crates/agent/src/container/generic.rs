//! What a node offers beyond CPU and memory (`--node-generic-resource`), and how a task learns what it was given of it.
//!
//! Mirrors SwarmKit's `api/genericresource` (`parse.go`, `string.go`), texts included.

use std::collections::BTreeMap;

use swarm_proto::v1::generic_resource::Resource;
use swarm_proto::v1::{DiscreteGenericResource, GenericResource, NamedGenericResource};
use thiserror::Error;

/// What the names of a task's environment variables begin with.
const PREFIX: &str = "DOCKER_RESOURCE_";

/// Why a list of resources is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenericResourceError {
    /// A term is not of the form `kind=value`.
    #[error(
        "could not parse GenericResource: incorrect term {0}, missing '=' or malformed expression"
    )]
    Term(String),
    /// There can't be less than none of it.
    #[error("could not parse GenericResource: cannot ask for negative resource {0}")]
    Negative(String),
    /// One kind by number and by name, or by several numbers.
    #[error("could not parse GenericResource: mixed discrete and named resources in expression '{kind}=[{}]'", values.join(" "))]
    Mixed {
        /// The kind.
        kind: String,
        /// All that was given for it.
        values: Vec<String>,
    },
}

/// Reads `kind=number` (so many pieces) and `kind=name` (one piece by its name; several times for several).
///
/// # Errors
/// What is malformed, negative or contradictory.
pub fn parse_generic_resources(
    terms: &[String],
) -> Result<Vec<GenericResource>, GenericResourceError> {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for term in terms {
        match term.split('=').map(str::trim).collect::<Vec<_>>()[..] {
            [kind, value] if !kind.is_empty() && !value.is_empty() => {
                kinds.entry(kind.to_owned()).or_default().push(value.to_owned());
            }
            _ => return Err(GenericResourceError::Term(term.clone())),
        }
    }
    let resources = kinds.into_iter().map(|(kind, values)| resources(kind, values));
    Ok(resources.collect::<Result<Vec<_>, _>>()?.concat())
}

fn resources(
    kind: String,
    values: Vec<String>,
) -> Result<Vec<GenericResource>, GenericResourceError> {
    let number = |value: &String| value.parse::<i64>().ok();
    if let [value] = &values[..]
        && let Some(value) = number(value)
    {
        return match value {
            0.. => Ok(vec![of(Resource::DiscreteResourceSpec(DiscreteGenericResource {
                kind,
                value,
            }))]),
            _ => Err(GenericResourceError::Negative(kind)),
        };
    }
    if values.iter().any(|value| number(value).is_some()) {
        return Err(GenericResourceError::Mixed { kind, values });
    }
    let named =
        |value| of(Resource::NamedResourceSpec(NamedGenericResource { kind: kind.clone(), value }));
    Ok(values.into_iter().map(named).collect())
}

fn of(resource: Resource) -> GenericResource {
    GenericResource { resource: Some(resource) }
}

/// The environment variables that tell a task what it was given: `DOCKER_RESOURCE_GPU=UUID1,UUID2`.
pub(super) fn environment(assigned: &[GenericResource]) -> Vec<String> {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in assigned.iter().filter_map(|generic| generic.resource.as_ref()) {
        let (kind, value) = match resource {
            Resource::DiscreteResourceSpec(discrete) => {
                (&discrete.kind, discrete.value.to_string())
            }
            Resource::NamedResourceSpec(named) => (&named.kind, named.value.clone()),
        };
        kinds.entry(kind.to_uppercase()).or_default().push(value);
    }
    kinds.into_iter().map(|(kind, values)| format!("{PREFIX}{kind}={}", values.join(","))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_node_offers_and_tells_it_to_tasks() {
        for (terms, expect) in [
            (&[][..], Ok(&[][..])),
            (&["ssd=3"], Ok(&["DOCKER_RESOURCE_SSD=3"])),
            (
                &["NVIDIA-GPU=UUID2", "ssd = 3", "NVIDIA-GPU=UUID1"],
                Ok(&["DOCKER_RESOURCE_NVIDIA-GPU=UUID2,UUID1", "DOCKER_RESOURCE_SSD=3"]),
            ),
            (
                &["gpu"],
                Err(
                    "could not parse GenericResource: incorrect term gpu, missing '=' or malformed expression",
                ),
            ),
            (
                &["gpu=a=b"],
                Err(
                    "could not parse GenericResource: incorrect term gpu=a=b, missing '=' or malformed expression",
                ),
            ),
            (
                &["gpu="],
                Err(
                    "could not parse GenericResource: incorrect term gpu=, missing '=' or malformed expression",
                ),
            ),
            (
                &["ssd=-1"],
                Err("could not parse GenericResource: cannot ask for negative resource ssd"),
            ),
            (
                &["gpu=a", "gpu=1"],
                Err(
                    "could not parse GenericResource: mixed discrete and named resources in expression 'gpu=[a 1]'",
                ),
            ),
        ] {
            let terms: Vec<String> = terms.iter().map(|term| (*term).to_owned()).collect();
            let found = parse_generic_resources(&terms).map(|resources| environment(&resources));
            let expect = expect.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect());
            assert_eq!(found.map_err(|error| error.to_string()), expect.map_err(str::to_owned));
        }
    }
}
