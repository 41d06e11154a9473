//! The flags of `swarm daemon`, by dockerd's names, and what they become once checked.
//!
//! dockerd's flags for features that this daemon lacks are unknown here, so they are refused with their name.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::parser::ValueSource;
use clap::{Args, FromArgMatches as _};
use ipnet::Ipv4Net;
use swarm_node::BackupFolder;

use super::config_file;

/// dockerd's defaults under our own paths.
const DATA_ROOT: &str = "/var/lib/swarm";
const EXEC_ROOT: &str = "/run/swarm";
const DEFAULT_HOST: &str = "unix:///run/swarm.sock";
const PIDFILE: &str = "/run/swarm.pid";
const TLS_FOLDER: &str = "/etc/docker";
/// More frequent ones would be made all the time in a large cluster.
const BACKUP_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// `swarm daemon`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flags {
    /// Daemon socket(s) to connect to
    #[arg(short = 'H', long = "host", value_name = "list")]
    pub(crate) host: Vec<String>,
    /// Root directory of persistent state
    #[arg(long, value_name = "path", default_value = DATA_ROOT)]
    pub(crate) data_root: PathBuf,
    /// Root directory for execution state files
    #[arg(long, value_name = "path", default_value = EXEC_ROOT)]
    pub(crate) exec_root: PathBuf,
    /// Path to use for the daemon PID file
    #[arg(short = 'p', long, value_name = "path", default_value = PIDFILE)]
    pub(crate) pidfile: PathBuf,
    /// Set key=value labels to the daemon
    #[arg(long = "label", value_name = "list")]
    pub(crate) labels: Vec<String>,
    /// Advertise user-defined resource
    #[arg(long = "node-generic-resource", value_name = "list")]
    pub(crate) generic_resources: Vec<String>,
    /// Enable debug mode
    #[arg(short = 'D', long, value_name = "bool", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) debug: bool,
    /// Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")
    #[arg(short = 'l', long, value_name = "level", default_value = "info")]
    pub(crate) log_level: String,
    /// Daemon configuration file
    #[arg(long, value_name = "file")]
    pub(crate) config_file: Option<PathBuf>,
    /// Use TLS; implied by --tlsverify
    #[arg(long, value_name = "bool", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls: bool,
    /// Use TLS and verify the remote
    #[arg(long, value_name = "bool", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tlsverify: bool,
    /// Trust certs signed only by this CA
    #[arg(long, value_name = "file", default_value_os_t = tls_file("ca.pem"))]
    pub(crate) tlscacert: PathBuf,
    /// Path to TLS certificate file
    #[arg(long, value_name = "file", default_value_os_t = tls_file("cert.pem"))]
    pub(crate) tlscert: PathBuf,
    /// Path to TLS key file
    #[arg(long, value_name = "file", default_value_os_t = tls_file("key.pem"))]
    pub(crate) tlskey: PathBuf,
    /// Set default address or interface for swarm advertised address
    #[arg(long, value_name = "string", default_value = "")]
    pub(crate) swarm_default_advertise_addr: String,
    /// Set default address and port to serve the metrics api on
    #[arg(long, value_name = "ip:port")]
    pub(crate) metrics_addr: Option<String>,
    /// Preferred registry mirror
    #[arg(long = "registry-mirror", value_name = "list")]
    pub(crate) registry_mirrors: Vec<String>,
    /// Enable insecure registry communication
    #[arg(long = "insecure-registry", value_name = "list")]
    pub(crate) insecure_registries: Vec<String>,
    /// Default OCI runtime for containers
    #[arg(long, value_name = "string")]
    pub(crate) default_runtime: Option<String>,
    /// Register an additional OCI compatible runtime (name=path)
    #[arg(long = "add-runtime", value_name = "runtime")]
    pub(crate) runtimes: Vec<String>,
    /// Containers keep running while the daemon is down; always on, accepted for dockerd's command lines
    #[arg(long, value_name = "bool", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) live_restore: bool,
    /// Attach containers to a network bridge of this name ("none" for no bridge)
    #[arg(short = 'b', long, value_name = "string")]
    pub(crate) bridge: Option<String>,
    /// IPv4 address and subnet of the bridge
    #[arg(long, value_name = "cidr")]
    pub(crate) bip: Option<Ipv4Net>,
    /// Set the bridge's MTU
    #[arg(long, value_name = "int", default_value_t = 1500)]
    pub(crate) mtu: u32,
    /// Enable inter-container communication
    #[arg(long, value_name = "bool", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) icc: bool,
    /// Enable IP masquerading
    #[arg(long, value_name = "bool", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) ip_masq: bool,
    /// Set parent cgroup for all containers
    #[arg(long, value_name = "string", default_value = "/swarm")]
    pub(crate) cgroup_parent: PathBuf,
    /// DNS server to use
    #[arg(long = "dns", value_name = "list")]
    pub(crate) dns: Vec<String>,
    /// Default driver for container logs
    #[arg(long, value_name = "string", default_value = "json-file")]
    pub(crate) log_driver: String,
    /// Default log driver options for containers
    #[arg(long = "log-opt", value_name = "map")]
    pub(crate) log_options: Vec<String>,
    /// Keep backups of the swarm's state in this folder while this node is a manager
    #[arg(long, value_name = "path")]
    pub(crate) backup_dir: Option<PathBuf>,
    /// Time from one backup to the next
    #[arg(long, value_name = "duration", default_value = "1h")]
    pub(crate) backup_interval: String,
    /// Number of backups to keep
    #[arg(long, value_name = "int", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) backup_keep: u32,
    /// Group for the unix socket
    #[arg(short = 'G', long, value_name = "string")]
    pub(crate) group: Option<String>,
}

fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(TLS_FOLDER).join(name)
}

impl Flags {
    /// The flags with those of the configuration file, if one is named.
    pub(crate) fn with_config_file(self, arguments: &[String]) -> anyhow::Result<Self> {
        let Some(path) = &self.config_file else { return self.checked() };
        let command = Self::augment_args(clap::Command::new("daemon"));
        let given = command.clone().try_get_matches_from(arguments)?;
        let of =
            |name: &str| command.get_arguments().find(|argument| argument.get_long() == Some(name));
        let is_given = |name: &str| {
            of(name).is_some_and(|argument| {
                given.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
            })
        };
        let from_file = config_file::arguments(path, |name| of(name).is_some(), is_given)?;
        let merged = command.try_get_matches_from(arguments.iter().chain(&from_file))?;
        Self::from_arg_matches(&merged)?.checked()
    }

    fn checked(self) -> anyhow::Result<Self> {
        if !self.live_restore {
            bail!("--live-restore=false is not supported: containers always outlive the daemon");
        }
        Ok(self)
    }

    /// The sockets to listen on: those given, or the default one.
    pub(crate) fn hosts(&self) -> Vec<String> {
        match self.host.is_empty() {
            true => vec![DEFAULT_HOST.to_owned()],
            false => self.host.clone(),
        }
    }

    /// The daemon's labels.
    pub(crate) fn labels(&self) -> anyhow::Result<HashMap<String, String>> {
        let mut labels = HashMap::new();
        for label in &self.labels {
            let (key, value) = label
                .split_once('=')
                .filter(|(key, value)| !key.is_empty() && !value.is_empty())
                .with_context(|| format!("bad attribute format: {label}"))?;
            if let Some(other) = labels.insert(key.to_owned(), value.to_owned())
                && other != value
            {
                bail!("conflict labels for {key}={value} and {key}={other}");
            }
        }
        Ok(labels)
    }

    /// Where and how often a manager keeps backups by itself.
    pub(crate) fn backups(&self) -> anyhow::Result<Option<BackupFolder>> {
        let interval = duration(&self.backup_interval)
            .filter(|interval| *interval >= BACKUP_INTERVAL_MIN)
            .with_context(|| {
                let given = &self.backup_interval;
                format!(
                    "invalid --backup-interval {given:?}: it must be like 1h30m, and 10s at least"
                )
            })?;
        let keep = usize::try_from(self.backup_keep)?;
        Ok(self.backup_dir.clone().map(|path| BackupFolder { path, interval, keep }))
    }

    /// Names and paths of additional runtimes.
    pub(crate) fn runtimes(&self) -> anyhow::Result<HashMap<String, PathBuf>> {
        pairs(&self.runtimes, "runtime")
            .map(|pairs| pairs.into_iter().map(|(name, path)| (name, path.into())).collect())
    }

    /// The default log driver's options.
    pub(crate) fn log_options(&self) -> anyhow::Result<HashMap<String, String>> {
        pairs(&self.log_options, "log option")
    }
}

/// A duration as Go writes it, in whole hours, minutes and seconds; days too.
fn duration(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            b'd' => 24 * 60 * 60,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(Duration::from_secs(seconds))
}

fn pairs(texts: &[String], what: &str) -> anyhow::Result<HashMap<String, String>> {
    let pair = |text: &String| {
        text.split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .with_context(|| format!("invalid {what} {text:?}: expected name=value"))
    };
    texts.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        flags: Flags,
    }

    fn parse(arguments: &[&str]) -> Result<Flags, clap::Error> {
        Alone::try_parse_from([&["swarm"], arguments].concat()).map(|alone| alone.flags)
    }

    #[test]
    fn takes_dockerds_flags_and_refuses_others() {
        let flags = parse(&["-H", "tcp://127.0.0.1:1", "-H", "unix:///x", "--icc=false", "-D"]);
        let flags = flags.expect("known flags");
        assert_eq!(flags.hosts(), ["tcp://127.0.0.1:1", "unix:///x"]);
        assert!(!flags.icc && flags.ip_masq && flags.debug);
        for unknown in ["--userns-remap=x", "--selinux-enabled", "--experimental"] {
            let error = parse(&[unknown]).expect_err("a feature that is not there").to_string();
            assert!(error.contains(unknown.split('=').next().unwrap_or_default()), "{error}");
        }
    }

    #[test]
    fn backups_are_kept_where_a_folder_is_named() {
        for (arguments, expect) in [
            (&[][..], Ok(None)),
            (&["--backup-dir=/b"], Ok(Some((3600, 24)))),
            (
                &["--backup-dir=/b", "--backup-interval=1d1h30m", "--backup-keep=3"],
                Ok(Some((91_800, 3))),
            ),
            (&["--backup-interval=5s"], Err("10s at least")),
            (&["--backup-interval="], Err("invalid --backup-interval")),
            (&["--backup-interval=1"], Err("invalid --backup-interval")),
            (&["--backup-interval=1w"], Err("invalid --backup-interval")),
            (&["--backup-interval=99999999999999999d"], Err("invalid --backup-interval")),
        ] {
            let found = parse(arguments).expect("flags").backups();
            match (found, expect) {
                (Ok(found), Ok(expect)) => {
                    let found = found.map(|folder| (folder.interval.as_secs(), folder.keep));
                    assert_eq!(found, expect);
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, _) => panic!("{arguments:?}: {found:?}"),
            }
        }
        assert!(parse(&["--backup-keep=0"]).is_err());
    }

    #[test]
    fn labels_are_checked() {
        for (labels, expect) in [
            (&["a=1", "b=2"][..], Ok(2)),
            (&["a=1", "a=1"], Ok(1)),
            (&["a=1", "a=2"], Err("conflict labels for a=2 and a=1")),
            (&["a"], Err("bad attribute format: a")),
        ] {
            let arguments: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
            let found = parse(&arguments).expect("flags").labels();
            let found = found.map(|labels| labels.len()).map_err(|error| error.to_string());
            assert_eq!(found, expect.map_err(str::to_owned));
        }
    }
}
