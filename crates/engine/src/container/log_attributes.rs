//! What `--log-opt labels=…`, `env=…` and `tag=…` add to each line of a container's log (`docker logs --details`).
//!
//! The same for every line, so nothing of it is written into the log. Mirrors moby's `loggerutils` and
//! `logger.Info.ExtraAttributes`.

use bollard_stubs::models::HostConfigLogConfig;

use super::Record;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// A name in a tag, and what it is for a container.
type TagName = (&'static str, fn(&Record) -> String);

/// What a tag can name.
const TAG_NAMES: [TagName; 6] = [
    ("{{.ID}}", |record| record.id.short().to_owned()),
    ("{{.FullID}}", |record| record.id.to_string()),
    ("{{.Name}}", |record| record.name.clone()),
    ("{{.ImageID}}", |record| {
        record.image_id.trim_start_matches("sha256:").chars().take(12).collect()
    }),
    ("{{.ImageFullID}}", |record| record.image_id.clone()),
    ("{{.ImageName}}", |record| record.image.clone()),
];

impl Engine {
    /// The attributes of every line of a container's log, as keys with their values.
    pub fn log_attributes(&self, reference: &str) -> Result<Vec<(String, String)>> {
        Ok(self.container(reference)?.read(attributes))
    }
}

/// Refuses a tag that names what there is not.
pub(super) fn check(log: &HostConfigLogConfig) -> Result<()> {
    let Some(tag) = log.config.as_ref().and_then(|options| options.get("tag")) else {
        return Ok(());
    };
    let rest = TAG_NAMES.iter().fold(tag.clone(), |text, (name, _)| text.replace(name, ""));
    match rest.contains("{{") {
        true => {
            Err(Error::invalid(format!("the log opt tag={tag} is not supported by this engine")))
        }
        false => Ok(()),
    }
}

fn attributes(record: &Record) -> Vec<(String, String)> {
    let options = record.host.log_config.as_ref().and_then(|log| log.config.clone());
    let options = options.unwrap_or_default();
    let wanted = |option: &str| {
        let keys = options.get(option).map(String::as_str).unwrap_or_default();
        keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut attributes = Vec::new();
    let labels = record.config.labels.clone().unwrap_or_default();
    for key in wanted("labels") {
        attributes.extend(labels.get(&key).map(|value| (key, value.clone())));
    }
    for key in wanted("env") {
        let prefix = format!("{key}=");
        let value = record.config.env.iter().flatten().find_map(|set| set.strip_prefix(&prefix));
        attributes.extend(value.map(|value| (key, value.to_owned())));
    }
    if let Some(tag) = options.get("tag").filter(|tag| !tag.is_empty()) {
        let said = |text: String, (name, of): &TagName| {
            if text.contains(name) { text.replace(name, &of(record)) } else { text }
        };
        attributes.push(("tag".to_owned(), TAG_NAMES.iter().fold(tag.clone(), said)));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_what_there_is() {
        for (tag, expect) in [
            ("plain", true),
            ("{{.ImageName}}/{{.Name}}/{{.ID}}", true),
            ("{{.DaemonName}}", false),
            ("{{ .ID }}", false),
        ] {
            let config = Some([("tag".to_owned(), tag.to_owned())].into());
            let log = HostConfigLogConfig { config, ..HostConfigLogConfig::default() };
            assert_eq!(check(&log).is_ok(), expect, "{tag}");
        }
    }
}
