//! A small image built on the spot: a static busybox and its applets, as `docker save` would write it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const FOLDERS: [(&str, u32); 9] = [
    ("bin/", 0o755),
    ("etc/", 0o755),
    ("dev/", 0o755),
    ("proc/", 0o755),
    ("sys/", 0o755),
    ("root/", 0o700),
    ("tmp/", 0o1777),
    ("var/", 0o755),
    ("var/www/", 0o755),
];

/// An archive for `docker load` with one image of that name (`name:tag`): busybox, running `sh` by default.
///
/// Needs a statically linked busybox (Debian's package busybox-static), or one named by `BUSYBOX`.
pub fn busybox_image_tar(name: &str) -> Vec<u8> {
    build(name).expect("build a busybox image")
}

fn build(name: &str) -> Result<Vec<u8>> {
    let layer = layer()?;
    let digest = hex::encode(Sha256::digest(&layer));
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": { "Env": [format!("PATH={PATH}")], "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{ "created": "2020-01-01T00:00:00Z", "created_by": "busybox" }],
    }))?;
    let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
    let layer_name = format!("{digest}/layer.tar");
    let manifest = serde_json::to_vec(
        &json!([{ "Config": config_name, "RepoTags": [name], "Layers": [layer_name] }]),
    )?;
    let mut archive = Builder::new(Vec::new());
    file(&mut archive, &layer_name, 0o644, &layer)?;
    file(&mut archive, &config_name, 0o644, &config)?;
    file(&mut archive, "manifest.json", 0o644, &manifest)?;
    Ok(archive.into_inner()?)
}

fn layer() -> Result<Vec<u8>> {
    let busybox = find_busybox()?;
    let mut layer = Builder::new(Vec::new());
    for (folder, mode) in FOLDERS {
        layer.append_data(&mut header(EntryType::Directory, mode, 0), folder, std::io::empty())?;
    }
    file(&mut layer, "etc/passwd", 0o644, PASSWD.as_bytes())?;
    file(&mut layer, "etc/group", 0o644, GROUP.as_bytes())?;
    file(&mut layer, "bin/busybox", 0o755, &fs::read(&busybox)?)?;
    for applet in applets(&busybox)? {
        let mut link = header(EntryType::Symlink, 0o777, 0);
        layer.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn find_busybox() -> Result<PathBuf> {
    let named = std::env::var_os("BUSYBOX").map(PathBuf::from);
    let usual = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    named
        .into_iter()
        .chain(usual)
        .find(|path| path.is_file())
        .context("no busybox found: install the package busybox-static")
}

fn applets(busybox: &Path) -> Result<Vec<String>> {
    let output = Command::new(busybox).arg("--list").output()?;
    ensure!(output.status.success(), "{} --list failed", busybox.display());
    let list = String::from_utf8(output.stdout)?;
    Ok(list.lines().filter(|applet| *applet != "busybox").map(str::to_owned).collect())
}

fn file(archive: &mut Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let size = u64::try_from(content.len())?;
    Ok(archive.append_data(&mut header(EntryType::Regular, mode, size), path, content)?)
}

/// Times and owners are fixed, so that the same busybox always makes the same image.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The machine's architecture by its name in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
