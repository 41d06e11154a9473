//! `swarm backup` and `swarm restore`: a file on one side, the daemon's socket on the other.
//!
//! The daemon makes and checks backups; here they are read and written. Keys are read from files, as a command line is
//! for everybody on the machine to see.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hyper::body::Bytes;

use crate::client::Client;
use crate::output;

/// In place of a file's name.
const STANDARD_STREAM: &str = "-";
const KEY_HEADER: &str = "x-swarm-backup-key";

/// The daemon to talk to, and the key.
#[derive(Debug, Args)]
struct Common {
    /// Daemon socket to connect to
    #[arg(
        short = 'H',
        long,
        value_name = "socket",
        env = "DOCKER_HOST",
        default_value = "unix:///run/swarm.sock"
    )]
    host: String,
    /// File with the passphrase that the backup is encrypted with; "-" reads it from standard input
    #[arg(long, value_name = "file")]
    key: Option<PathBuf>,
}

/// `swarm backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupFlags {
    #[command(flatten)]
    common: Common,
    /// The file to write; one of that name is replaced. "-" writes to standard output
    file: PathBuf,
}

/// `swarm restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreFlags {
    #[command(flatten)]
    common: Common,
    /// Advertised address (format: "<ip|interface>[:port]")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    advertise_addr: String,
    /// Listen address (format: "<ip|interface>[:port]")
    #[arg(long, value_name = "node-addr", default_value = "0.0.0.0:2377")]
    listen_addr: String,
    /// Address or interface to use for data path traffic (format: "<ip|interface>")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    data_path_addr: String,
    /// The backup; "-" reads it from standard input
    file: PathBuf,
}

/// Writes a backup of the daemon's swarm.
pub(crate) fn back_up(flags: &BackupFlags) -> anyhow::Result<()> {
    let file = &flags.file;
    let is_piped = file.as_os_str() == STANDARD_STREAM;
    if is_piped && std::io::stdout().is_terminal() {
        bail!("a backup is no text for a terminal: name a file, or send the output to one");
    }
    if file.is_dir() {
        bail!("{} is a folder: name a file in it", file.display());
    }
    let bytes = flags.common.exchange("/swarm/backup", Bytes::new())?;
    if is_piped {
        let mut stdout = std::io::stdout().lock();
        return stdout
            .write_all(&bytes)
            .and_then(|()| stdout.flush())
            .context("writing the backup");
    }
    swarm_node::write_file(file, &bytes)?;
    output::line(&format!(
        "The swarm was backed up to {} ({} bytes).",
        file.display(),
        bytes.len()
    ));
    Ok(())
}

/// Hands a backup to the daemon.
pub(crate) fn restore(flags: &RestoreFlags) -> anyhow::Result<()> {
    let is_key_piped =
        flags.common.key.as_deref().is_some_and(|key| key.as_os_str() == STANDARD_STREAM);
    if is_key_piped && flags.file.as_os_str() == STANDARD_STREAM {
        bail!(
            "the backup and its key cannot both come from standard input: name a file for one of them"
        );
    }
    let file = &flags.file;
    let bytes = read_backup(file).with_context(|| format!("reading {}", file.display()))?;
    let parameters = [
        ("listenAddr", &flags.listen_addr),
        ("advertiseAddr", &flags.advertise_addr),
        ("dataPathAddr", &flags.data_path_addr),
    ];
    let parameters = parameters.map(|(name, value)| format!("{name}={}", escaped(value)));
    let path = format!("/swarm/restore?{}", parameters.join("&"));
    let answer = flags.common.exchange(&path, bytes.into())?;
    let node_id: String = serde_json::from_slice(&answer).context("the daemon's answer")?;
    output::line(&format!(
        "Swarm restored: current node ({node_id}) is now its only manager.\n\n\
         Workers of the swarm come back by themselves where they reach this node under an address that they know. \
         Managers of the old swarm are workers now; other nodes join with \"docker swarm join-token\"."
    ));
    Ok(())
}

impl Common {
    /// One request to the daemon.
    fn exchange(&self, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let Some(socket) = self.host.strip_prefix("unix://") else {
            bail!("{}: only unix:// sockets are supported here; name one with --host", self.host);
        };
        let key = self.key.as_deref().map(read_key).transpose()?;
        let header = key.map(|key| (KEY_HEADER, STANDARD.encode(key)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Client::new(socket.into()).exchange(path, header, body))
    }
}

fn read_backup(file: &Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() != STANDARD_STREAM {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The passphrase in a file, without the end of its line.
fn read_key(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path.as_os_str() == STANDARD_STREAM {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.with_context(|| format!("reading the key from {}", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => bail!("the key in {} is empty", path.display()),
        key => Ok(key.to_owned()),
    }
}

/// A value for a query: addresses and interfaces' names hold little that needs it.
fn escaped(value: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b':' | b'-' | b'_' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_files_but_for_the_end_of_the_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        for (text, expect) in [
            ("secret\n", Some("secret")),
            ("secret\r\n", Some("secret")),
            (" two words ", Some(" two words ")),
            ("\n", None),
            ("", None),
        ] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(read_key(&path).ok().as_deref(), expect, "{text:?}");
        }
        let error = read_key(&folder.path().join("none")).expect_err("is missing");
        assert!(format!("{error:#}").contains("none: No such file"), "{error:#}");
    }

    #[test]
    fn values_are_escaped() {
        for (value, expect) in [("10.0.0.1:2377", "10.0.0.1:2377"), ("a&b=c d", "a%26b%3Dc%20d")] {
            assert_eq!(escaped(value), expect);
        }
    }
}
