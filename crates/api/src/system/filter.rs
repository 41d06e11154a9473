//! Which events a client of `/events` asked for.
//!
//! Mirrors moby's `daemon/events/filter.go`: values of one key are alternatives, keys must all hold.

use bollard_stubs::models::EventMessage;
use serde_json::{Value, json};

use crate::http::filters::Filters;

/// The keys that the endpoint knows.
pub(super) const ACCEPTED: [&str; 15] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
    "health_status",
];

/// Objects that are filtered by their ID or name.
const OBJECTS: [&str; 9] =
    ["config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume"];

pub(super) fn wants(filters: &Filters, event: &EventMessage) -> bool {
    let kind = event.typ.map(|kind| kind.to_string()).unwrap_or_default();
    let scope = event.scope.map(|scope| scope.to_string()).unwrap_or_default();
    filters.allows("type", &kind)
        && filters.allows("scope", &scope)
        && wants_action(filters, event)
        && wants_labels(filters, event)
        && OBJECTS.iter().all(|key| wants_object(filters, key, &kind, event))
        && wants_image(filters, &kind, event)
}

fn wants_action(filters: &Filters, event: &EventMessage) -> bool {
    let action = event.action.as_deref().unwrap_or_default();
    let short = action.split(':').next().unwrap_or_default();
    let values = filters.get("event");
    values.is_empty() || values.iter().any(|value| value == action || value == short)
}

fn wants_labels(filters: &Filters, event: &EventMessage) -> bool {
    filters.pairs("label").iter().all(|(key, value)| {
        let found = attribute(event, key);
        found.is_some_and(|found| value.is_empty() || found == value)
    })
}

fn wants_object(filters: &Filters, key: &str, kind: &str, event: &EventMessage) -> bool {
    let values = filters.get(key);
    if values.is_empty() {
        return true;
    }
    let id = event.actor.as_ref().and_then(|actor| actor.id.as_deref()).unwrap_or_default();
    let name = attribute(event, "name").unwrap_or_default();
    // A container's events of networks and volumes carry its ID as an attribute.
    let related = attribute(event, key).unwrap_or_default();
    values.iter().any(|value| {
        let own = kind == key && (id.starts_with(value.as_str()) || name == value);
        own || (!related.is_empty() && related.starts_with(value.as_str()))
    })
}

fn wants_image(filters: &Filters, kind: &str, event: &EventMessage) -> bool {
    let values = filters.get("image");
    if values.is_empty() {
        return true;
    }
    let id = event.actor.as_ref().and_then(|actor| actor.id.as_deref()).unwrap_or_default();
    let named = match kind {
        "image" => attribute(event, "name").unwrap_or_default(),
        _ => attribute(event, "image").unwrap_or_default(),
    };
    let without_tag = named.rsplit_once(':').map_or(named, |(name, _)| name);
    values.iter().any(|value| value == id || value == named || value == without_tag)
}

fn attribute<'a>(event: &'a EventMessage, key: &str) -> Option<&'a str> {
    event.actor.as_ref()?.attributes.as_ref()?.get(key).map(String::as_str)
}

/// Events of containers and images carry three fields that old clients read.
pub(super) fn with_legacy_fields(event: EventMessage) -> Value {
    let kind = event.typ.map(|kind| kind.to_string()).unwrap_or_default();
    let mut value = serde_json::to_value(&event).unwrap_or_default();
    if let Some(map) = value.as_object_mut()
        && (kind == "container" || kind == "image")
    {
        let id = event.actor.as_ref().and_then(|actor| actor.id.clone()).unwrap_or_default();
        map.insert("status".to_owned(), json!(event.action));
        map.insert("id".to_owned(), json!(id));
        if let Some(image) = attribute(&event, "image") {
            map.insert("from".to_owned(), json!(image));
        }
    }
    value
}
