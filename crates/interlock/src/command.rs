//! The command line of Interlock 0.3, behind `swarm interlock`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use swarm_standalone::log;

use crate::client::{Address, Certificates, Client};
use crate::settings::Settings;

/// The word that this is asked for by.
const COMMAND: &str = "interlock";
const DEFAULT_URL: &str = "unix:///var/run/docker.sock";
/// What there is to plug in: name, version, description, address.
const PLUGIN: [&str; 4] = [
    "haproxy",
    env!("CARGO_PKG_VERSION"),
    "hosts by name, with health checks and a statistics page",
    "http://www.haproxy.org/",
];

/// Keeps a load balancer in step with what runs in a cluster
#[derive(Debug, Parser)]
#[command(name = "interlock", bin_name = "swarm interlock", disable_help_subcommand = true)]
struct Flags {
    /// The cluster's Docker API [default: $DOCKER_HOST, or unix:///var/run/docker.sock]
    #[arg(long, short = 's', global = true, value_name = "URL")]
    swarm_url: Option<String>,
    /// Trust only a cluster whose certificate was signed by this authority
    #[arg(long, global = true, value_name = "FILE")]
    swarm_tls_ca_cert: Option<PathBuf>,
    /// The certificate to show to the cluster
    #[arg(long, global = true, value_name = "FILE")]
    swarm_tls_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, global = true, value_name = "FILE")]
    swarm_tls_key: Option<PathBuf>,
    /// Do not verify the cluster's certificate
    #[arg(long, global = true)]
    swarm_allow_insecure: bool,
    /// What to keep in step: haproxy
    #[arg(long, short = 'p', global = true, value_name = "NAME")]
    plugin: Vec<String>,
    /// Log more
    #[arg(long, short = 'D', global = true)]
    debug: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Start, and go on until told to stop
    Start,
    /// List what --plugin takes
    ListPlugins,
}

/// Runs `swarm interlock`; none where the command line is another one.
pub fn run(words: &[String]) -> Option<ExitCode> {
    if words.first().is_none_or(|word| word != COMMAND) {
        return None;
    }
    let flags = match Flags::try_parse_from(words) {
        Ok(flags) => flags,
        Err(error) => {
            // Nobody may be reading.
            let _ = error.print();
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp);
            return Some(if is_help { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    };
    let done = match flags.action {
        Action::Start => start(&flags),
        Action::ListPlugins => list_plugins(),
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::fatal(&message);
            ExitCode::FAILURE
        }
    })
}

fn start(flags: &Flags) -> Result<(), String> {
    log::begin(if flags.debug { "debug" } else { "info" })?;
    check_plugins(&flags.plugin)?;
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (address, certificates) = cluster(flags, env)?;
    if certificates.is_some() {
        tracing::info!("using tls for communication with swarm");
    }
    let client = Client::new(address, certificates.as_ref()).map_err(|error| error.to_string())?;
    let settings = Settings::read(env).map_err(|error| error.to_string())?;
    tracing::info!("interlock running version={}", env!("CARGO_PKG_VERSION"));
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(crate::run::run(client, settings)).map_err(|error| error.to_string())
}

fn check_plugins(names: &[String]) -> Result<(), String> {
    if let Some(unknown) = names.iter().find(|name| *name != PLUGIN[0]) {
        return Err(format!("there is no plugin {unknown:?}: the one there is is haproxy"));
    }
    match names.len() {
        0 => Err("nothing to do without a plugin: add --plugin haproxy".to_owned()),
        _ => Ok(()),
    }
}

/// Where the cluster is, and by what it and this know each other.
fn cluster(
    flags: &Flags,
    env: impl Fn(&str) -> Option<String>,
) -> Result<(Address, Option<Certificates>), String> {
    let url = flags.swarm_url.clone().or_else(|| env("DOCKER_HOST"));
    let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
    let (ca, cert, key) = (
        flags.swarm_tls_ca_cert.clone(),
        flags.swarm_tls_cert.clone(),
        flags.swarm_tls_key.clone(),
    );
    let of_env = env("DOCKER_CERT_PATH").filter(|_| env("DOCKER_TLS_VERIFY").is_some());
    let certificates = match (ca, cert, key) {
        (None, None, None) => of_env.filter(|_| !url.starts_with("unix:")).map(|folder| {
            let file = |name| PathBuf::from(&folder).join(name);
            let pair = Some((file("cert.pem"), file("key.pem")));
            Certificates { ca: Some(file("ca.pem")), pair, is_verified: true }
        }),
        (ca, Some(cert), Some(key)) => {
            Some(Certificates { ca, pair: Some((cert, key)), is_verified: true })
        }
        (ca, None, None) => Some(Certificates { ca, pair: None, is_verified: true }),
        _ => return Err("--swarm-tls-cert and --swarm-tls-key go together".to_owned()),
    };
    let certificates = match (certificates, flags.swarm_allow_insecure) {
        (None, true) => Some(Certificates { ca: None, pair: None, is_verified: false }),
        (Some(certificates), true) => Some(Certificates { is_verified: false, ..certificates }),
        (certificates, false) => certificates,
    };
    if certificates.as_ref().is_some_and(|these| these.is_verified && these.ca.is_none()) {
        return Err("--swarm-tls-ca-cert is missing: name the authority's certificate, or give \
                    --swarm-allow-insecure to trust anybody"
            .to_owned());
    }
    let address =
        Address::parse(&url, certificates.is_some()).map_err(|error| error.to_string())?;
    Ok((address, certificates))
}

fn list_plugins() -> Result<(), String> {
    use std::io::Write as _;
    let head = ["NAME", "VERSION", "DESCRIPTION", "URL"];
    let row = |cells: [&str; 4]| {
        let widths = [0, 1, 2].map(|at| head[at].len().max(PLUGIN[at].len()) + 3);
        let [name, version, text, url] = cells;
        format!("{name:<0$}{version:<1$}{text:<2$}{url}\n", widths[0], widths[1], widths[2])
    };
    let table = format!("{}{}", row(head), row(PLUGIN));
    std::io::stdout().write_all(table.as_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &str, env: &[(&str, &str)]) -> String {
        let words = line.split_whitespace();
        let flags = match Flags::try_parse_from(std::iter::once("interlock").chain(words)) {
            Ok(flags) => flags,
            Err(error) => return error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let value =
            |name: &str| env.iter().find(|(own, _)| *own == name).map(|(_, v)| (*v).to_owned());
        match check_plugins(&flags.plugin).and_then(|()| cluster(&flags, value)) {
            Ok((address, None)) => address.to_string(),
            Ok((address, Some(certificates))) => {
                let is_verified = certificates.is_verified;
                format!("{address} pair={} verified={is_verified}", certificates.pair.is_some())
            }
            Err(error) => error,
        }
    }

    #[test]
    fn lines_are_the_originals() {
        let seed = "--swarm-url tcp://192.168.33.11:3375 --plugin haproxy start";
        let tls = "--swarm-tls-ca-cert ca --swarm-tls-cert c --swarm-tls-key k -p haproxy start";
        for (line, env, expect) in [
            (seed, &[][..], "tcp://192.168.33.11:3375"),
            ("start -s tcp://a:1 -p haproxy -D", &[], "tcp://a:1"),
            ("-p haproxy start", &[], "unix:///var/run/docker.sock"),
            ("-p haproxy start", &[("DOCKER_HOST", "tcp://b")], "tcp://b:2375"),
            (
                "-p haproxy start",
                &[
                    ("DOCKER_HOST", "tcp://b"),
                    ("DOCKER_CERT_PATH", "/c"),
                    ("DOCKER_TLS_VERIFY", "1"),
                ],
                "tcp://b:2376 pair=true verified=true",
            ),
            (&format!("-s tcp://a:1 {tls}"), &[], "tcp://a:1 pair=true verified=true"),
            (
                "-s https://a --swarm-allow-insecure -p haproxy start",
                &[],
                "tcp://a:2376 pair=false verified=false",
            ),
        ] {
            assert_eq!(outcome(line, env), expect, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let pair = "--swarm-tls-cert and --swarm-tls-key go together";
        for (line, expect) in [
            ("start", "nothing to do without a plugin: add --plugin haproxy"),
            ("-p nginx start", "there is no plugin \"nginx\": the one there is is haproxy"),
            ("-p haproxy stop", "error: unrecognized subcommand 'stop'"),
            ("-p haproxy --swarm start", "error: unexpected argument '--swarm' found"),
            ("-p haproxy -s tcp://a --swarm-tls-cert c start", pair),
            ("-p haproxy -s tcp://a --swarm-tls-ca-cert c --swarm-tls-key k start", pair),
            (
                "-p haproxy -s tcp://a --swarm-tls-cert c --swarm-tls-key k start",
                "--swarm-tls-ca-cert is missing: name the authority's certificate, or give \
                 --swarm-allow-insecure to trust anybody",
            ),
            (
                "-p haproxy --swarm-tls-ca-cert c start",
                "unix:///var/run/docker.sock is a socket of this machine: leave the TLS flags out",
            ),
            (
                "-p haproxy -s https://a start",
                "https://a needs --swarm-tls-ca-cert, or --swarm-allow-insecure",
            ),
            (
                "-p haproxy -s ftp://a start",
                "ftp://a is no address of a cluster: give tcp://HOST:PORT or unix:///PATH",
            ),
            (
                "-p haproxy -s tcp://a:0 start",
                "tcp://a:0 is no address of a cluster: give tcp://HOST:PORT or unix:///PATH",
            ),
        ] {
            assert_eq!(outcome(line, &[]), expect, "{line}");
        }
    }
}
