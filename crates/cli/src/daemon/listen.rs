//! Binds the daemon's sockets: `unix://`, `tcp://`, and `tcp://` with TLS.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::unistd::{Group, chown};
use swarm_api::{ClientCertificates, Listener, TlsFiles, server_config};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tracing::{info, warn};

use super::flags::Flags;

/// dockerd's ports without and with TLS.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// Binds all sockets that the flags name.
pub(crate) async fn bind(flags: &Flags) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for host in flags.hosts() {
        let listener = match host.split_once("://") {
            Some(("unix", path)) => unix(Path::new(path), flags.group.as_deref()).await?,
            Some(("tcp", address)) => tcp(address, flags).await?,
            _ => bail!("invalid bind address ({host}): use unix:///path or tcp://address:port"),
        };
        info!(host, "API listens");
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn unix(path: &Path, group: Option<&str>) -> anyhow::Result<Listener> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            bail!("{} exists and is not a socket", path.display())
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            bail!("{} is served by another daemon", path.display())
        }
        // A killed daemon leaves its socket behind.
        Ok(_) => fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("listening on {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    if let Some(name) = group {
        let group = Group::from_name(name)?.with_context(|| format!("group {name} not found"))?;
        chown(path, None, Some(group.gid))?;
    }
    Ok(Listener::Unix(listener))
}

async fn tcp(address: &str, flags: &Flags) -> anyhow::Result<Listener> {
    let with_tls = flags.tls || flags.tlsverify;
    let default_port = if with_tls { TLS_PORT } else { PORT };
    let address = match address.rsplit_once(':') {
        None if address.is_empty() => format!("127.0.0.1:{default_port}"),
        None => format!("{address}:{default_port}"),
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(_) => address.to_owned(),
    };
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("listening on tcp://{address}"))?;
    if !with_tls {
        // dockerd's warning, which tools look for.
        warn!(
            host = format!("tcp://{address}"),
            "Binding to IP address without --tlsverify is insecure and gives root access on this machine to everyone who has access to your network."
        );
        return Ok(Listener::Tcp(listener));
    }
    let files = TlsFiles {
        ca_cert: flags.tlscacert.clone(),
        cert: flags.tlscert.clone(),
        key: flags.tlskey.clone(),
    };
    let clients = match flags.tlsverify {
        true => ClientCertificates::Required,
        false => ClientCertificates::NotAsked,
    };
    Ok(Listener::Tls(listener, server_config(&files, clients)?))
}
