//! Which networks a client asked for. Names and IDs match in part, as in Docker.

use bollard_stubs::models::NetworkInspect;

use super::handlers::PREDEFINED;
use crate::http::filters::Filters;

/// The keys that the endpoint knows.
pub(super) const ACCEPTED: [&str; 7] =
    ["dangling", "driver", "id", "label", "name", "scope", "type"];

pub(super) fn wants(filters: &Filters, network: &NetworkInspect) -> bool {
    let name = network.name.as_deref().unwrap_or_default();
    let id = network.id.as_deref().unwrap_or_default();
    let predefined = PREDEFINED.contains(&name);
    let kind = if predefined { "builtin" } else { "custom" };
    contains(filters.get("name"), name)
        && contains(filters.get("id"), id)
        && filters.allows("driver", network.driver.as_deref().unwrap_or_default())
        && filters.allows("scope", network.scope.as_deref().unwrap_or_default())
        && filters.allows("type", kind)
        && wants_labels(filters, network)
        && (!filters.get("dangling").iter().any(|v| v == "true" || v == "1") || !predefined)
}

fn contains(values: &[String], text: &str) -> bool {
    values.is_empty() || values.iter().any(|value| text.contains(value.as_str()))
}

fn wants_labels(filters: &Filters, network: &NetworkInspect) -> bool {
    let labels = network.labels.clone().unwrap_or_default();
    filters.pairs("label").iter().all(|(key, value)| {
        let found = labels.get(key);
        found.is_some_and(|found| value.is_empty() || found == value)
    })
}
