//! Test archives: layers entry by entry, and image archives around them, good and broken.
//!
//! Names are written into the headers as bytes, because the tar library would refuse the bad ones.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use swarm_engine::image::Digest;
use tar::{Builder, EntryType, Header};

use super::MTIME;

/// A way to compress a layer.
pub(crate) type Compress = fn(&[u8]) -> Vec<u8>;

/// All of them.
pub(crate) const COMPRESSIONS: [(Compress, &str); 3] =
    [(plain, "plain"), (gzip, "gzip"), (zstd, "zstd")];

/// A layer's tar archive in the making.
#[derive(Clone)]
pub(crate) struct Layer {
    entries: Vec<u8>,
}

impl Layer {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new() }
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.owned_file(name, content, 0o644, 0, 0)
    }

    pub(crate) fn owned_file(
        self,
        name: &str,
        content: &[u8],
        mode: u32,
        uid: u64,
        gid: u64,
    ) -> Self {
        self.entry(name, EntryType::Regular, mode, content, &|header| {
            header.set_uid(uid);
            header.set_gid(gid);
        })
    }

    pub(crate) fn folder(self, name: &str, mode: u32) -> Self {
        self.entry(name, EntryType::Directory, mode, b"", &|_| {})
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, name, target)
    }

    pub(crate) fn device(self, name: &str, major: u32, minor: u32) -> Self {
        self.entry(name, EntryType::Char, 0o666, b"", &|header| {
            header.set_device_major(major).expect("ustar");
            header.set_device_minor(minor).expect("ustar");
        })
    }

    pub(crate) fn fifo(self, name: &str) -> Self {
        self.entry(name, EntryType::Fifo, 0o600, b"", &|_| {})
    }

    pub(crate) fn xattr_file(mut self, name: &str, key: &str, value: &[u8]) -> Self {
        let body = [format!("SCHILY.xattr.{key}=").as_bytes(), value, b"\n"].concat();
        let mut length = body.len() + 3;
        while length.to_string().len() + 1 + body.len() != length {
            length = length.to_string().len() + 1 + body.len();
        }
        let record = [format!("{length} ").as_bytes(), body.as_slice()].concat();
        self = self.entry("pax", EntryType::XHeader, 0o644, &record, &|_| {});
        self.file(name, b"")
    }

    /// The finished archive.
    pub(crate) fn tar(&self) -> Vec<u8> {
        [self.entries.as_slice(), &[0; 1024]].concat()
    }

    fn link(mut self, kind: EntryType, name: &str, target: &str) -> Self {
        if target.len() > 100 {
            let long = [target.as_bytes(), b"\0"].concat();
            self = self.entry("././@LongLink", EntryType::GNULongLink, 0o644, &long, &|_| {});
        }
        self.entry(name, kind, 0o777, b"", &|header| {
            let bytes = &target.as_bytes()[..target.len().min(100)];
            header.as_old_mut().linkname[..bytes.len()].copy_from_slice(bytes);
        })
    }

    fn entry(
        mut self,
        name: &str,
        kind: EntryType,
        mode: u32,
        content: &[u8],
        more: &dyn Fn(&mut Header),
    ) -> Self {
        if name.len() > 100 {
            let long = [name.as_bytes(), b"\0"].concat();
            self = self.entry("././@LongLink", EntryType::GNULongName, 0o644, &long, &|_| {});
        }
        let mut header = Header::new_gnu();
        let bytes = &name.as_bytes()[..name.len().min(100)];
        header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MTIME as u64);
        header.set_size(content.len() as u64);
        more(&mut header);
        header.set_cksum();
        self.entries.extend_from_slice(header.as_bytes());
        self.entries.extend_from_slice(content);
        self.entries.resize(self.entries.len().next_multiple_of(512), 0);
        self
    }
}

/// An image config for layers.
pub(crate) fn config(diff_ids: &[Digest]) -> Vec<u8> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2020-01-01T00:00:00Z",
        "config": {"Cmd": ["/a"], "ExposedPorts": null},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    serde_json::to_vec(&config).expect("JSON")
}

/// What `docker save` writes.
pub(crate) fn docker_archive(layers: &[Layer], tags: &[&str]) -> Vec<u8> {
    let tars: Vec<Vec<u8>> = layers.iter().map(Layer::tar).collect();
    let mut files = vec![("config.json".to_owned(), config(&digests(&tars)))];
    let mut names = Vec::new();
    for (number, tar) in tars.into_iter().enumerate() {
        names.push(format!("{number}/layer.tar"));
        files.push((format!("{number}/layer.tar"), tar));
    }
    let manifest = json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]);
    files.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest).expect("JSON")));
    archive(&files)
}

/// An OCI layout with its layers compressed.
pub(crate) fn oci_archive(layers: &[Layer], name: Option<&str>, compress: Compress) -> Vec<u8> {
    let tars: Vec<Vec<u8>> = layers.iter().map(Layer::tar).collect();
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut blob = |bytes: Vec<u8>| -> Value {
        let digest = Digest::of(&bytes);
        let descriptor =
            json!({"digest": digest, "size": bytes.len(), "mediaType": "application/octet-stream"});
        files.push((format!("blobs/sha256/{}", digest.hex()), bytes));
        descriptor
    };
    let config = blob(config(&digests(&tars)));
    let layers: Vec<Value> = tars.iter().map(|tar| blob(compress(tar))).collect();
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let mut entry = blob(serde_json::to_vec(&manifest).expect("JSON"));
    if let Some(name) = name {
        entry["annotations"] = json!({"io.containerd.image.name": name});
    }
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    files.push(("index.json".to_owned(), serde_json::to_vec(&index).expect("JSON")));
    archive(&files)
}

pub(crate) fn with_truncated_layer() -> Vec<u8> {
    let tar = Layer::new().file("a", &[1; 4000]).tar();
    let cut = tar[..2000].to_vec();
    single(config(&digests(std::slice::from_ref(&cut))), Some(cut))
}

/// As `docker save` wrote until version 24: a layer that two images share is there once, and a symlink elsewhere.
pub(crate) fn with_linked_layer(layer: Layer) -> Vec<u8> {
    let tar = layer.tar();
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["two/layer.tar"]}]);
    Layer::new()
        .file("c.json", &config(&digests(std::slice::from_ref(&tar))))
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("one/layer.tar", &tar)
        .file("manifest.json", &serde_json::to_vec(&manifest).expect("JSON"))
        .tar()
}

pub(crate) fn with_missing_layer() -> Vec<u8> {
    single(config(&[Digest::of(b"x")]), None)
}

pub(crate) fn with_wrong_digest() -> Vec<u8> {
    single(config(&[Digest::of(b"x")]), Some(Layer::new().file("a", b"1").tar()))
}

pub(crate) fn with_manifest(manifest: &[u8]) -> Vec<u8> {
    archive(&[("manifest.json".to_owned(), manifest.to_vec()), ("c".to_owned(), config(&[]))])
}

/// One good image, then one whose layer is missing.
pub(crate) fn with_second_image_broken() -> Vec<u8> {
    let tar = Layer::new().file("a", b"1").tar();
    let manifest = json!([
        {"Config": "good", "RepoTags": ["good:1"], "Layers": ["layer"]},
        {"Config": "bad", "RepoTags": ["bad:1"], "Layers": ["none"]},
    ]);
    archive(&[
        ("good".to_owned(), config(&digests(std::slice::from_ref(&tar)))),
        ("bad".to_owned(), config(&[Digest::of(b"x")])),
        ("layer".to_owned(), tar),
        ("manifest.json".to_owned(), serde_json::to_vec(&manifest).expect("JSON")),
    ])
}

/// A layout whose config blob is not what its name says.
pub(crate) fn oci_with_wrong_config() -> Vec<u8> {
    let wrong = Digest::of(b"x");
    let manifest = json!({"schemaVersion": 2, "config": {"digest": wrong}, "layers": []});
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    let digest = Digest::of(&manifest);
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": digest}]});
    archive(&[
        (format!("blobs/sha256/{}", wrong.hex()), config(&[])),
        (format!("blobs/sha256/{}", digest.hex()), manifest),
        ("index.json".to_owned(), serde_json::to_vec(&index).expect("JSON")),
    ])
}

pub(crate) fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn single(config: Vec<u8>, layer: Option<Vec<u8>>) -> Vec<u8> {
    let manifest = json!([{"Config": "config", "RepoTags": ["app:1"], "Layers": ["layer"]}]);
    let mut files = vec![("config".to_owned(), config)];
    files.extend(layer.map(|layer| ("layer".to_owned(), layer)));
    files.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest).expect("JSON")));
    archive(&files)
}

fn digests(tars: &[Vec<u8>]) -> Vec<Digest> {
    tars.iter().map(|tar| Digest::of(tar)).collect()
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, content.as_slice()).expect("in memory");
    }
    builder.into_inner().expect("in memory")
}
