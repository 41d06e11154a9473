//! Which events are wanted: the filters of `docker events`, and `node`.
//!
//! Mirrors moby's `daemon/events/filter.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::query::Filters;

/// Filters by what an event is about; each takes an identifier or a name, or how one begins.
const ABOUT: [&str; 7] = ["container", "volume", "network", "plugin", "secret", "config", "daemon"];

/// Whether an event, as it is told, passes all filters.
pub(super) fn is_wanted(filters: &Filters, event: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, action) = (text(&event["Type"]), text(&event["Action"]));
    let (actor, attributes) = (text(&event["Actor"]["ID"]), &event["Actor"]["Attributes"]);
    let name = text(&attributes["name"]);
    let labels: BTreeMap<String, String> = attributes
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let is_about = |wanted: &str| actor.starts_with(wanted) || name.starts_with(wanted);
    // `exec_create: ls` and `health_status: healthy` are asked for without what follows.
    let is_action = |wanted: &str| action == wanted || action.split(':').next() == Some(wanted);
    filters.admits("type", |wanted| kind == wanted)
        && filters.admits("event", is_action)
        && filters.admits("scope", |wanted| event["scope"] == wanted)
        && filters.admits("node", |wanted| {
            event["node"]["Name"] == wanted || event["node"]["Id"] == wanted
        })
        && filters.admits("image", |wanted| is_image(&kind, &actor, attributes, wanted))
        && filters.labels(&labels)
        && ABOUT.iter().all(|about| {
            filters.get(about).is_none() || (kind == *about && filters.admits(about, is_about))
        })
}

/// An image by its identifier, or its name with or without a tag; of a container, the image that it is of.
fn is_image(kind: &str, actor: &str, attributes: &Value, wanted: &str) -> bool {
    let name = if kind == "image" { &attributes["name"] } else { &attributes["image"] };
    let name = name.as_str().unwrap_or_default();
    let bare = |name: &str| match name.rsplit_once(':') {
        Some((bare, tag)) if !tag.contains('/') => bare.to_owned(),
        _ => name.to_owned(),
    };
    [actor.to_owned(), bare(actor), name.to_owned(), bare(name)].iter().any(|own| own == wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::query::Query;

    #[test]
    fn filters_choose_events() {
        let start = json!({
            "Type": "container", "Action": "start", "scope": "local", "node": {"Name": "n1"},
            "Actor": {"ID": "0abc", "Attributes": {"name": "web", "image": "busybox:1", "tier": "a"}},
        });
        let check = json!({
            "Type": "container", "Action": "health_status: healthy", "node": {"Name": "n2"},
            "Actor": {"ID": "1", "Attributes": {"name": "db"}},
        });
        let pull = json!({
            "Type": "image", "Action": "pull", "node": {"Name": "n1"},
            "Actor": {"ID": "busybox:1", "Attributes": {"name": "busybox"}},
        });
        for (filters, expect) in [
            ("{}", [true, true, true]),
            (r#"{"type":["container"]}"#, [true, true, false]),
            (r#"{"event":["start","pull"]}"#, [true, false, true]),
            (r#"{"event":["health_status"]}"#, [false, true, false]),
            (r#"{"container":["we"]}"#, [true, false, false]),
            (r#"{"container":["0ab","1"]}"#, [true, true, false]),
            (r#"{"image":["busybox"]}"#, [true, false, true]),
            (r#"{"label":["tier=a"]}"#, [true, false, false]),
            (r#"{"node":["n1"]}"#, [true, false, true]),
            (r#"{"scope":["local"],"node":["n1"]}"#, [true, false, false]),
        ] {
            let filters = Query::read(&format!("filters={filters}")).filters().expect("filters");
            let wanted = [&start, &check, &pull].map(|event| is_wanted(&filters, event));
            assert_eq!(wanted, expect, "{filters:?}");
        }
    }
}
