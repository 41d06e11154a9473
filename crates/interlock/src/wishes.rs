//! What a container asks of the load balancer: its labels `interlock.*`, and before them its variable `INTERLOCK_DATA`.
//!
//! All of it ends up in a configuration, so whatever could be more than the one word or line that it should be is
//! refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

const PREFIX: &str = "interlock.";
const DATA: &str = "INTERLOCK_DATA=";
/// A host name has so many characters at most (RFC 1035), and so have the other names here.
const NAME_MAX: usize = 253;
/// So many host names for one container are enough.
const ALIASES_MAX: usize = 100;
/// HAProxy's ways of choosing a server.
const BALANCE: [&str; 11] = [
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "source",
    "uri",
    "url_param",
    "hdr(",
    "random",
    "random(",
    "rdp-cookie",
];
/// Labels of other load balancers, or of Interlock itself, that mean nothing here.
const OTHERS: [&str; 7] =
    ["ext.name", "ssl", "ssl_cert", "ssl_cert_key", "websocket_endpoint", "ip_hash", "network"];

/// What is asked for; all that is not is as usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Wishes {
    pub(crate) hostname: String,
    pub(crate) domain: String,
    #[serde(rename = "alias_domains")]
    pub(crate) aliases: Vec<String>,
    /// The container's port; 0 for the lowest that is published.
    pub(crate) port: u16,
    pub(crate) check: String,
    /// Milliseconds; 0 as usual.
    #[serde(rename = "check_interval")]
    pub(crate) check_interval_ms: u32,
    pub(crate) balance_algorithm: String,
    pub(crate) backend_options: Vec<String>,
    pub(crate) ssl_only: bool,
    pub(crate) ssl_backend: bool,
    pub(crate) ssl_backend_tls_verify: String,
    pub(crate) context_root: String,
    pub(crate) context_root_rewrite: bool,
    pub(crate) warm: bool,
}

/// A wish that can't be granted; the container is left out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} {value:?} is refused: {reason}")]
pub(crate) struct WishError {
    what: String,
    value: String,
    reason: &'static str,
}

impl Wishes {
    /// Reads a container's labels and environment; what was passed over is told in the second part.
    ///
    /// # Errors
    /// [`WishError`] for a value that must not get into a configuration.
    pub(crate) fn read(
        labels: &BTreeMap<String, String>,
        env: &[String],
    ) -> Result<(Self, Vec<String>), WishError> {
        let mut notices = Vec::new();
        let data = env.iter().find_map(|entry| entry.strip_prefix(DATA));
        let mut wishes = match data.map(serde_json::from_str::<Self>) {
            None => Self::default(),
            Some(Ok(wishes)) => wishes,
            Some(Err(error)) => {
                notices.push(format!("unable to parse interlock data: {error}"));
                Self::default()
            }
        };
        for (label, value) in labels {
            let Some(key) = label.strip_prefix(PREFIX) else { continue };
            if !wishes.take(key, value)? {
                notices.push(format!("label {label} means nothing to haproxy"));
            }
        }
        if wishes.warm {
            notices.push("warm is not supported: health checks tell when it is ready".to_owned());
        }
        wishes.check_all()?;
        Ok((wishes, notices))
    }

    /// Takes a label; false where it is none of ours.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, WishError> {
        let text = || value.to_owned();
        match key {
            "hostname" => self.hostname = text(),
            "domain" => self.domain = text(),
            "port" => self.port = number(key, value)?,
            "health_check" => self.check = text(),
            "health_check_interval" => self.check_interval_ms = number(key, value)?,
            "balance_algorithm" => self.balance_algorithm = text(),
            // Their presence is enough, as it was.
            "ssl_only" => self.ssl_only = is_on(value),
            "ssl_backend" => self.ssl_backend = is_on(value),
            "ssl_backend_tls_verify" => self.ssl_backend_tls_verify = text(),
            "context_root" => self.context_root = text(),
            "context_root_rewrite" => self.context_root_rewrite = is_on(value),
            "protocol" if value == "http" => {}
            "protocol" if value == "https" => self.ssl_backend = true,
            _ if is_numbered(key, "alias_domain") => self.aliases.push(text()),
            _ if is_numbered(key, "backend_option") => self.backend_options.push(text()),
            _ if OTHERS.contains(&key) => return Ok(false),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check_all(&self) -> Result<(), WishError> {
        let name = "it is no host name";
        for (what, value) in [("hostname", &self.hostname), ("domain", &self.domain)] {
            must(value.is_empty() || is_name(value), what, value, name)?;
        }
        if let Some(alias) = self.aliases.get(ALIASES_MAX) {
            return must(false, "alias_domain", alias, "there are too many");
        }
        for alias in &self.aliases {
            must(is_name(alias), "alias_domain", alias, name)?;
        }
        let line = "it may be a line of printable characters without quotes, backslash, # and $";
        for option in self.backend_options.iter().chain([&self.check]) {
            must(is_line(option), "option", option, line)?;
        }
        let balance = &self.balance_algorithm;
        must(
            balance.is_empty() || is_balance(balance),
            "balance_algorithm",
            balance,
            "haproxy has no such algorithm",
        )?;
        let verify = &self.ssl_backend_tls_verify;
        must(
            ["", "none", "required"].contains(&verify.as_str()),
            "ssl_backend_tls_verify",
            verify,
            "it may be none or required",
        )?;
        let root = &self.context_root;
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        must(
            root.is_empty()
                || root.len() <= NAME_MAX
                    && root.starts_with('/')
                    && root.len() > 1
                    && root.chars().all(is_path),
            "context_root",
            root,
            "it must be a path, such as /app",
        )
    }
}

fn must(holds: bool, what: &str, value: &str, reason: &'static str) -> Result<(), WishError> {
    if holds {
        return Ok(());
    }
    let value = value.chars().take(NAME_MAX).collect();
    Err(WishError { what: what.to_owned(), value, reason })
}

fn number<N: std::str::FromStr>(key: &str, value: &str) -> Result<N, WishError> {
    let wrong = || WishError {
        what: key.to_owned(),
        value: value.chars().take(NAME_MAX).collect(),
        reason: "it is no number that fits",
    };
    value.parse().map_err(|_| wrong())
}

fn is_on(value: &str) -> bool {
    !["false", "0", "no"].contains(&value)
}

/// `name`, `name.0`, `name.1`
fn is_numbered(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a text is a host name, and no more.
pub(crate) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    text.len() <= NAME_MAX && text.split('.').all(is_label)
}

/// Whether a text stays one word in HAProxy's configuration.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty() && is_line(text) && !text.contains(' ')
}

/// Whether a text stays on its line in HAProxy's configuration, and means what it says.
pub(crate) fn is_line(text: &str) -> bool {
    text.len() <= 1024 && text.chars().all(|c| (' '..='~').contains(&c) && !"\"'\\#$".contains(c))
}

/// Whether a text names a way of choosing a server.
pub(crate) fn is_balance(text: &str) -> bool {
    let word = text.split(' ').next().unwrap_or_default();
    let is_known = BALANCE.iter().any(|known| match known.ends_with('(') {
        true => word.starts_with(known) && word.ends_with(')'),
        false => word == *known,
    });
    is_known && is_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[(&str, &str)], env: &[&str]) -> Result<(Wishes, Vec<String>), WishError> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let env: Vec<String> = env.iter().map(|entry| (*entry).to_owned()).collect();
        Wishes::read(&labels.collect(), &env)
    }

    #[test]
    fn labels_go_before_data() {
        let data = r#"INTERLOCK_DATA={"hostname":"a","domain":"b.c","alias_domains":["x.y"],"port":8080,
            "check":"httpchk GET /","backend_options":["http-no-delay"],"check_interval":1000,"ssl_only":true,
            "balance_algorithm":"leastconn"}"#;
        let (wishes, notices) =
            read(&[("interlock.domain", "d.e"), ("interlock.alias_domain.1", "z")], &[data])
                .expect("read");
        let expect = Wishes {
            hostname: "a".into(),
            domain: "d.e".into(),
            aliases: vec!["x.y".into(), "z".into()],
            port: 8080,
            check: "httpchk GET /".into(),
            check_interval_ms: 1000,
            balance_algorithm: "leastconn".into(),
            backend_options: vec!["http-no-delay".into()],
            ssl_only: true,
            ..Wishes::default()
        };
        assert_eq!((wishes, notices), (expect, vec![]));
    }

    #[test]
    fn what_means_nothing_is_told() {
        for (labels, env, expect) in [
            (&[("interlock.ssl_cert", "x")][..], &[][..], "label interlock.ssl_cert means nothing"),
            (&[("interlock.hostnam", "x")], &[], "label interlock.hostnam means nothing"),
            (&[], &["INTERLOCK_DATA={"], "unable to parse interlock data: EOF"),
            (&[], &[r#"INTERLOCK_DATA={"warm":true}"#], "warm is not supported"),
        ] {
            let (_, notices) = read(labels, env).expect("read");
            assert!(notices[0].starts_with(expect), "{notices:?}");
        }
    }

    #[test]
    fn what_could_be_more_than_it_should_is_refused() {
        let long = "a".repeat(300);
        for (key, value) in [
            ("hostname", "a b"),
            ("hostname", "a\nbackend evil"),
            ("hostname", "a\"b"),
            ("hostname", "a..b"),
            ("hostname", "*.a"),
            ("hostname", &long),
            ("domain", "b}"),
            ("domain", "é.com"),
            ("alias_domain.0", "x y"),
            ("alias_domain", ""),
            ("port", "80/tcp"),
            ("port", "99999"),
            ("health_check", "httpchk GET /\nserver evil 1.2.3.4:80"),
            ("health_check", "httpchk GET / \"x\""),
            ("health_check", "httpchk GET /\u{2028}x"),
            ("health_check_interval", "5s"),
            ("backend_option", "a # b"),
            ("backend_option.0", "a ${HOME}"),
            ("balance_algorithm", "fairly"),
            ("balance_algorithm", "hdr(x"),
            ("balance_algorithm", "uri\nx"),
            ("ssl_backend_tls_verify", "maybe"),
            ("context_root", "app"),
            ("context_root", "/"),
            ("context_root", "/a b"),
        ] {
            let error = read(&[(&format!("interlock.{key}"), value)], &[]);
            let error = error.expect_err(&format!("{key}={value}")).to_string();
            assert!(error.contains(" is refused: "), "{error}");
        }
        let data = r#"INTERLOCK_DATA={"hostname":"a\nb"}"#;
        assert!(read(&[], &[data]).is_err());
    }

    #[test]
    fn algorithms() {
        for known in ["roundrobin", "hdr(X-User)", "uri depth 3", "random(2)", "url_param id"] {
            assert!(is_balance(known), "{known}");
        }
    }
}
