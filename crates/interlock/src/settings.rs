//! How HAProxy is run: the variables `HAPROXY_*` of Interlock 0.3, with its defaults.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use crate::wishes::{is_balance, is_line, is_word};

/// Where both ways of publishing Interlock's port lead: `-p 80:80` and, as its manual had it, `-p 80:8080`.
const PORTS: [u16; 2] = [80, 8080];

/// What HAProxy's configuration is made with, besides the hosts. Templates name these as `config.…`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    pub(crate) config_path: PathBuf,
    pub(crate) pid_path: PathBuf,
    /// A template instead of the built-in one.
    pub(crate) template_path: Option<PathBuf>,
    /// Where all containers are, whatever their engines say.
    pub(crate) override_address: Option<String>,
    pub(crate) ports: Vec<u16>,
    pub(crate) max_conn: u32,
    pub(crate) connect_timeout_ms: u32,
    pub(crate) server_timeout_ms: u32,
    pub(crate) client_timeout_ms: u32,
    pub(crate) stats_user: String,
    pub(crate) stats_password: String,
    pub(crate) ssl_port: u16,
    pub(crate) ssl_cert: Option<String>,
    pub(crate) ssl_options: String,
    pub(crate) balance_algorithm: String,
    pub(crate) syslog_address: Option<String>,
}

/// A variable that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}={value:?} is invalid: {expected}")]
pub(crate) struct SettingError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`SettingError`] for the first variable that can't be used.
    pub(crate) fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let reader = Reader { env };
        let path = |name, default: &str| PathBuf::from(reader.or(name, default));
        let port = reader.number("HAPROXY_PORT", 0u16, "a port, from 1 to 65535")?;
        Ok(Self {
            config_path: path("HAPROXY_PROXY_CONFIG_PATH", "proxy.conf"),
            pid_path: path("HAPROXY_PID_PATH", "proxy.pid"),
            template_path: (reader.env)("HAPROXY_TEMPLATE_PATH").map(PathBuf::from),
            override_address: reader.word("HAPROXY_PROXY_BACKEND_OVERRIDE_ADDRESS", is_word)?,
            ports: if port == 0 { PORTS.to_vec() } else { vec![port] },
            max_conn: reader.number("HAPROXY_MAX_CONN", 2048, "a number above 0")?,
            connect_timeout_ms: reader.milliseconds("HAPROXY_CONNECT_TIMEOUT", 5000)?,
            server_timeout_ms: reader.milliseconds("HAPROXY_SERVER_TIMEOUT", 10_000)?,
            client_timeout_ms: reader.milliseconds("HAPROXY_CLIENT_TIMEOUT", 10_000)?,
            stats_user: reader.word("HAPROXY_STATS_USER", is_user)?.unwrap_or("stats".into()),
            stats_password: reader
                .word("HAPROXY_STATS_PASSWORD", is_word)?
                .unwrap_or("interlock".into()),
            ssl_port: reader.number("HAPROXY_SSL_PORT", 8443, "a port, from 1 to 65535")?,
            ssl_cert: reader.word("HAPROXY_SSL_CERT", is_word)?,
            ssl_options: reader.word("HAPROXY_SSL_OPTS", is_options)?.unwrap_or_default(),
            balance_algorithm: reader
                .word("HAPROXY_PROXY_BALANCE_ALGORITHM", is_balance)?
                .unwrap_or("roundrobin".into()),
            syslog_address: reader.word("HAPROXY_SYSLOG_ADDR", is_word)?,
        })
    }
}

fn is_user(text: &str) -> bool {
    is_word(text) && !text.contains(':')
}

fn is_options(text: &str) -> bool {
    // `!aNULL` and `+` are words of lists of ciphers.
    is_line(text)
}

struct Reader<E> {
    env: E,
}

impl<E: Fn(&str) -> Option<String>> Reader<E> {
    fn or(&self, name: &str, default: &str) -> String {
        (self.env)(name).unwrap_or_else(|| default.to_owned())
    }

    fn word(
        &self,
        name: &'static str,
        is_valid: fn(&str) -> bool,
    ) -> Result<Option<String>, SettingError> {
        let Some(value) = (self.env)(name) else { return Ok(None) };
        if is_valid(&value) {
            return Ok(Some(value));
        }
        let expected = match name {
            "HAPROXY_PROXY_BALANCE_ALGORITHM" => "an algorithm of HAProxy, such as leastconn",
            _ => "no quotes, backslashes, line ends, # and $, and no blanks where a word is meant",
        };
        // What is secret stays so.
        let value = if name == "HAPROXY_STATS_PASSWORD" { "***".to_owned() } else { value };
        Err(SettingError { name, value, expected })
    }

    fn number<N: FromStr + Default + PartialEq>(
        &self,
        name: &'static str,
        default: N,
        expected: &'static str,
    ) -> Result<N, SettingError> {
        let Some(value) = (self.env)(name) else { return Ok(default) };
        let number = value.trim().parse().ok().filter(|number| *number != N::default());
        number.ok_or(SettingError { name, value, expected })
    }

    fn milliseconds(&self, name: &'static str, default: u32) -> Result<u32, SettingError> {
        self.number(name, default, "milliseconds, a number above 0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::read(|name| {
            pairs.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_are_the_originals() {
        let settings = read(&[]).expect("settings");
        assert_eq!(settings.ports, [80, 8080]);
        assert_eq!((settings.max_conn, settings.ssl_port), (2048, 8443));
        assert_eq!(settings.stats_user, "stats");
        assert_eq!(settings.stats_password, "interlock");
        assert_eq!(settings.config_path, PathBuf::from("proxy.conf"));
        let settings = read(&[("HAPROXY_PORT", "8081"), ("HAPROXY_CLIENT_TIMEOUT", "1000")]);
        let settings = settings.expect("settings");
        assert_eq!((settings.ports, settings.client_timeout_ms), (vec![8081], 1000));
    }

    #[test]
    fn what_would_break_the_configuration_is_refused() {
        for (name, value) in [
            ("HAPROXY_PORT", "http"),
            ("HAPROXY_PORT", "0"),
            ("HAPROXY_PORT", "65536"),
            ("HAPROXY_MAX_CONN", "-1"),
            ("HAPROXY_STATS_USER", "a:b"),
            ("HAPROXY_STATS_PASSWORD", "two words"),
            ("HAPROXY_STATS_PASSWORD", "a\nbind *:1"),
            ("HAPROXY_SSL_CERT", "/a\"b"),
            ("HAPROXY_PROXY_BALANCE_ALGORITHM", "fairly"),
        ] {
            let error = read(&[(name, value)]).expect_err("refused").to_string();
            let value = if name.ends_with("PASSWORD") { "***" } else { value };
            assert!(error.starts_with(&format!("{name}={value:?} is invalid: ")), "{error}");
        }
    }
}
