//! `--change`: the Dockerfile instructions that `docker import` and `docker commit` take.
//!
//! Mirrors the builder's rules for those that only touch the config; others are refused by name.

use std::collections::HashMap;

use bollard_stubs::models::{HealthConfig, ImageConfig};

use crate::error::{Error, Result};

/// Applies instructions to an empty config.
pub(crate) fn apply(changes: &[String]) -> Result<ImageConfig> {
    let mut config = ImageConfig::default();
    for line in changes
        .iter()
        .flat_map(|change| change.lines())
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        instruction(&mut config, line)?;
    }
    Ok(config)
}

fn instruction(config: &mut ImageConfig, line: &str) -> Result<()> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (word, rest) = (word.to_uppercase(), rest.trim());
    if rest.is_empty() && !matches!(word.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(Error::invalid(format!("{word} requires at least one argument")));
    }
    match word.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            let list = config.env.get_or_insert_default();
            for (name, value) in pairs(&word, rest)? {
                list.retain(|old| old.split('=').next() != Some(name.as_str()));
                list.push(format!("{name}={value}"));
            }
        }
        "LABEL" => config.labels.get_or_insert_with(HashMap::new).extend(pairs(&word, rest)?),
        "WORKDIR" => config.working_dir = Some(working_dir(config.working_dir.as_deref(), rest)),
        "USER" => config.user = Some(rest.to_owned()),
        "EXPOSE" => extend(
            &mut config.exposed_ports,
            rest.split_whitespace().map(port).collect::<Result<_>>()?,
        ),
        "VOLUME" => extend(&mut config.volumes, list(rest)),
        "HEALTHCHECK" => config.healthcheck = Some(health_check(rest)?),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        _ => return Err(Error::invalid(format!("{word} is not a valid change command"))),
    }
    Ok(())
}

/// `NONE`, or options and a `CMD` with a JSON array or a line for the shell.
fn health_check(text: &str) -> Result<HealthConfig> {
    let mut check = HealthConfig::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, tail) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let invalid = || Error::invalid(format!("invalid value for --{name}: {value:?}"));
        let nanos = || duration(value).ok_or_else(invalid).map(Some);
        match name {
            "interval" => check.interval = nanos()?,
            "timeout" => check.timeout = nanos()?,
            "start-period" => check.start_period = nanos()?,
            "start-interval" => check.start_interval = nanos()?,
            "retries" => check.retries = Some(value.parse().map_err(|_| invalid())?),
            other => return Err(Error::invalid(format!("unknown flag: --{other}"))),
        }
        rest = tail.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = Some(match (kind.to_uppercase().as_str(), command) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("NONE", _) => return Err(Error::invalid("HEALTHCHECK NONE takes no arguments")),
        ("CMD", "") => return Err(Error::invalid("missing command after HEALTHCHECK CMD")),
        ("CMD", command) => match serde_json::from_str::<Vec<String>>(command) {
            Ok(words) => [vec!["CMD".to_owned()], words].concat(),
            Err(_) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        (other, _) => {
            let message = format!("unknown type {other:?} in HEALTHCHECK (try CMD)");
            return Err(Error::invalid(message));
        }
    });
    Ok(check)
}

/// A duration of one number and its unit, in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit: i64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// A JSON array as it is, anything else through the shell.
fn command(text: &str) -> Vec<String> {
    serde_json::from_str(text)
        .unwrap_or_else(|_| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// A JSON array, or words.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text)
        .unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
}

fn extend(list: &mut Option<Vec<String>>, more: Vec<String>) {
    let list = list.get_or_insert_default();
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

fn port(text: &str) -> Result<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let valid = number.split('-').all(|n| n.parse::<u16>().is_ok_and(|n| n > 0));
    match protocol {
        "tcp" | "udp" | "sctp" if valid => Ok(format!("{number}/{protocol}")),
        _ => Err(Error::invalid(format!("invalid containerPort: {text}"))),
    }
}

fn working_dir(current: Option<&str>, next: &str) -> String {
    match (next.starts_with('/'), current) {
        (true, _) => next.to_owned(),
        (false, Some(current)) => format!("{}/{next}", current.trim_end_matches('/')),
        (false, None) => format!("/{next}"),
    }
}

/// `NAME=value …`, quoted where there are spaces, or the old `NAME value` form.
fn pairs(word: &str, text: &str) -> Result<Vec<(String, String)>> {
    let words = split_words(text);
    if !words.first().is_some_and(|first| first.contains('=')) {
        let Some((name, value)) = text.split_once(char::is_whitespace) else {
            return Err(Error::invalid(format!("{word} must have two arguments")));
        };
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |item: String| match item.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err(Error::invalid(format!("{word} names can not be blank"))),
        None => Err(Error::invalid(format!(
            "Syntax error - can't find = in \"{item}\". Must be of the form: name=value"
        ))),
    };
    words.into_iter().map(pair).collect()
}

/// Splits at blanks outside of quotes; quotes go, a backslash keeps the next character.
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &[&str], expect: &str) {
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        let got = match apply(&changes) {
            Ok(config) => serde_json::to_string(&config).expect("JSON"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{changes:?}");
    }

    #[test]
    fn instructions_change_the_config() {
        check(&[r#"CMD ["a","b c"]"#], r#"{"Cmd":["a","b c"]}"#);
        check(&["cmd echo hi"], r#"{"Cmd":["/bin/sh","-c","echo hi"]}"#);
        check(&[r#"ENTRYPOINT ["/x"]"#], r#"{"Entrypoint":["/x"]}"#);
        check(&["ENV A=1 B='two words'", "ENV A 3 4"], r#"{"Env":["B=two words","A=3 4"]}"#);
        check(&["WORKDIR /a", "WORKDIR b"], r#"{"WorkingDir":"/a/b"}"#);
        check(&["USER 1:2", "STOPSIGNAL SIGINT"], r#"{"User":"1:2","StopSignal":"SIGINT"}"#);
        check(&["EXPOSE 80"], r#"{"ExposedPorts":{"80/tcp":{}}}"#);
        check(&["VOLUME [\"/data\"]"], r#"{"Volumes":{"/data":{}}}"#);
        check(
            &["HEALTHCHECK --interval=2s --retries=4 CMD test -e /x"],
            r#"{"Healthcheck":{"Test":["CMD-SHELL","test -e /x"],"Interval":2000000000,"Retries":4}}"#,
        );
        check(&[r#"HEALTHCHECK CMD ["a","b"]"#], r#"{"Healthcheck":{"Test":["CMD","a","b"]}}"#);
        check(&["HEALTHCHECK NONE"], r#"{"Healthcheck":{"Test":["NONE"]}}"#);
        check(&["LABEL \"a b\"=c"], r#"{"Labels":{"a b":"c"}}"#);
    }

    #[test]
    fn others_are_refused() {
        check(&["RUN rm"], "RUN is not a valid change command");
        check(&["EXPOSE http"], "invalid containerPort: http");
        check(&["HEALTHCHECK --every=1s CMD x"], "unknown flag: --every");
        check(&["HEALTHCHECK --interval=x CMD x"], "invalid value for --interval: \"x\"");
        check(&["HEALTHCHECK RUN x"], "unknown type \"RUN\" in HEALTHCHECK (try CMD)");
        check(&["USER"], "USER requires at least one argument");
        check(&["ENV A"], "ENV must have two arguments");
    }
}
