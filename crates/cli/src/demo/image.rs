//! The image of the demonstration's web service, built on the spot: this very executable and the libraries that it
//! runs with, as `docker save` would write it. So nothing is downloaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::{elf, hello};

/// The image's name.
pub(super) const NAME: &str = "hello-web:demo";
/// The port that the service listens on.
pub(super) const PORT: u16 = 8080;
const EXECUTABLE: &str = "swarm";
/// Where the libraries go and the loader is told to look.
const LIBRARIES: &str = "lib";
const CREATED: &str = "2020-01-01T00:00:00Z";

/// The archive for `docker load`.
pub(super) fn archive() -> anyhow::Result<Vec<u8>> {
    let layer = layer(&files()?)?;
    let digest = hex::encode(Sha256::digest(&layer));
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(),
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": [format!("LD_LIBRARY_PATH=/{LIBRARIES}")],
            "Entrypoint": [format!("/{EXECUTABLE}"), hello::COMMAND, "--port", PORT.to_string()],
            "ExposedPorts": { format!("{PORT}/tcp"): {} },
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{ "created": CREATED, "created_by": "swarm demo" }],
    }))?;
    let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
    let layer_name = format!("{digest}/layer.tar");
    let manifest = serde_json::to_vec(
        &json!([{ "Config": config_name, "RepoTags": [NAME], "Layers": [layer_name] }]),
    )?;
    let mut archive = Builder::new(Vec::new());
    file(&mut archive, &layer_name, 0o644, &layer)?;
    file(&mut archive, &config_name, 0o644, &config)?;
    file(&mut archive, "manifest.json", 0o644, &manifest)?;
    Ok(archive.into_inner()?)
}

/// The image's files by their path in it.
fn files() -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let own = std::env::current_exe().context("finding this executable")?;
    let bytes = fs::read(&own).with_context(|| format!("reading {}", own.display()))?;
    let mut files = BTreeMap::from([(EXECUTABLE.to_owned(), elf::loadable(&bytes))]);
    let Some(loader) = elf::interpreter(&bytes) else { return Ok(files) };
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    files.insert(loader.trim_start_matches('/').to_owned(), read(Path::new(&loader))?);
    let maps = fs::read_to_string("/proc/self/maps").context("reading this process' libraries")?;
    for library in mapped_files(&maps).into_iter().filter(|path| *path != own) {
        let content = elf::loadable(&read(&library)?);
        for name in names(&library) {
            files.insert(format!("{LIBRARIES}/{name}"), content.clone());
        }
    }
    Ok(files)
}

/// The files with code in an address space (proc(5): the sixth field, after five without spaces).
fn mapped_files(maps: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|access| access.contains('x')))
        .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
        .collect();
    paths.dedup();
    paths
}

/// A library's own name and those that point to it: the loader asks for `libc.so.6` where the file is `libc-2.31.so`.
fn names(library: &Path) -> Vec<String> {
    let own = library.file_name().map(|name| name.to_string_lossy().into_owned());
    let neighbours = library.parent().and_then(|folder| fs::read_dir(folder).ok());
    let links = neighbours.into_iter().flatten().flatten().filter(|entry| {
        entry.file_type().is_ok_and(|kind| kind.is_symlink())
            && fs::canonicalize(entry.path()).is_ok_and(|target| target == library)
    });
    own.into_iter()
        .chain(links.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn layer(files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    let mut folders: Vec<&Path> = ["etc", "dev", "proc", "sys", "tmp"].map(Path::new).to_vec();
    let parents = files.keys().flat_map(|path| Path::new(path).ancestors().skip(1));
    folders.extend(parents.filter(|path| !path.as_os_str().is_empty()));
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        layer.append_data(&mut header(EntryType::Directory, 0o755, 0), folder, std::io::empty())?;
    }
    for (path, content) in files {
        file(&mut layer, path, 0o755, content)?;
    }
    Ok(layer.into_inner()?)
}

fn file(
    archive: &mut Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> anyhow::Result<()> {
    let size = u64::try_from(content.len())?;
    Ok(archive.append_data(&mut header(EntryType::Regular, mode, size), path, content)?)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_mapped_code() {
        let maps = "55d0-55d1 r-xp 00000000 08:01 12  /usr/bin/swarm\n\
                    55d2-55d3 rw-p 00000000 00:00 0   [heap]\n\
                    7f00-7f01 r--p 00000000 08:01 13  /usr/lib/locale\n\
                    7f02-7f03 r-xp 00000000 08:01 14  /usr/lib/a b.so\n\
                    7f04-7f05 r-xp 00000000 00:00 0   [vdso]\n";
        let expect = ["/usr/bin/swarm", "/usr/lib/a b.so"].map(PathBuf::from);
        assert_eq!(mapped_files(maps), expect);
    }

    #[test]
    fn layer_has_files_and_their_folders() {
        let files = BTreeMap::from([("usr/lib/x".to_owned(), b"x".to_vec())]);
        let layer = layer(&files).expect("a layer");
        let mut archive = tar::Archive::new(layer.as_slice());
        let paths: Vec<String> = archive
            .entries()
            .expect("entries")
            .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
            .collect();
        let expect = ["dev", "etc", "proc", "sys", "tmp", "usr", "usr/lib", "usr/lib/x"];
        assert_eq!(paths, expect);
    }
}
