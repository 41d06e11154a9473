//! The configuration file (`--config-file`): dockerd's `daemon.json`, turned into the flags that it stands for.
//!
//! So one set of rules checks both. As in dockerd, an unknown key is refused, and so is an option that stands in the
//! file and on the command line, since either might be the one that is meant.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

/// Keys whose names differ from their flags'.
const PLURALS: [(&str, &str); 8] = [
    ("hosts", "host"),
    ("labels", "label"),
    ("node-generic-resources", "node-generic-resource"),
    ("registry-mirrors", "registry-mirror"),
    ("insecure-registries", "insecure-registry"),
    ("runtimes", "add-runtime"),
    ("log-opts", "log-opt"),
    ("dns", "dns"),
];

/// The arguments that the file at `path` stands for. `is_flag` knows the daemon's flags by name, `is_given` those that
/// the command line has already.
pub(super) fn arguments(
    path: &Path,
    is_flag: impl Fn(&str) -> bool,
    is_given: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<String>> {
    let failed = || format!("unable to configure the daemon with file {}", path.display());
    let text = fs::read_to_string(path).with_context(failed)?;
    parse(&text, is_flag, is_given).with_context(failed)
}

fn parse(
    text: &str,
    is_flag: impl Fn(&str) -> bool,
    is_given: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<String>> {
    let options: Map<String, Value> = match text.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text)?,
    };
    let named = |key: &str| {
        let plural = PLURALS.iter().find(|(plural, _)| *plural == key);
        plural.map_or_else(|| key.to_owned(), |(_, flag)| (*flag).to_owned())
    };
    let unknown: Vec<&str> =
        options.keys().filter(|key| !is_flag(&named(key))).map(String::as_str).collect();
    if !unknown.is_empty() {
        bail!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        );
    }
    let twice: Vec<&str> =
        options.keys().filter(|key| is_given(&named(key))).map(String::as_str).collect();
    if !twice.is_empty() {
        bail!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            twice.join(", ")
        );
    }
    let mut arguments = Vec::new();
    for (key, value) in &options {
        for text in texts(key, value)? {
            arguments.push(format!("--{}={text}", named(key)));
        }
    }
    Ok(arguments)
}

/// A value as the flag takes it, once or several times.
fn texts(key: &str, value: &Value) -> anyhow::Result<Vec<String>> {
    Ok(match value {
        Value::String(text) => vec![text.clone()],
        Value::Bool(flag) => vec![flag.to_string()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .with_context(|| format!("{key} must be a list of texts"))?,
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| Some(format!("{name}={}", entry(value)?)))
            .collect::<Option<_>>()
            .with_context(|| format!("{key} must have texts for values"))?,
        Value::Null => bail!("{key} has no value"),
    })
}

/// An entry's text: itself, or the path of a runtime.
fn entry(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("path")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let flags = ["debug", "host", "label", "mtu", "add-runtime", "log-opt", "bip"];
        parse(text, |name| flags.contains(&name), |name| name == "bip")
            .map_err(|error| error.to_string())
    }

    #[test]
    fn options_become_flags() {
        for (text, expect) in [
            ("", &[][..]),
            ("{}", &[]),
            (r#"{"debug": true, "mtu": 1400}"#, &["--debug=true", "--mtu=1400"]),
            (r#"{"hosts": ["unix:///a", "tcp://b:1"]}"#, &["--host=unix:///a", "--host=tcp://b:1"]),
            (r#"{"runtimes": {"runc": {"path": "/r"}}}"#, &["--add-runtime=runc=/r"]),
            (r#"{"log-opts": {"max-size": "1m"}}"#, &["--log-opt=max-size=1m"]),
        ] {
            assert_eq!(read(text).expect(text), expect);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expect) in [
            (r#"{"nope": 1}"#, "don't match any configuration option: nope"),
            (r#"{"bip": "10.0.0.1/8"}"#, "both as a flag and in the configuration file: bip"),
            (r#"{"labels": [1]}"#, "labels must be a list of texts"),
            (r#"{"mtu": null}"#, "mtu has no value"),
            ("{", "EOF"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(expect), "{error}");
        }
    }
}
