//! A real registry (package docker-registry) on a free loopback port, and a way to put content into it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use swarm_engine::image::Digest;
use tempfile::TempDir;

use super::archive::{Layer, config, gzip};

/// User and password of a registry with a login; the line is bcrypt's of `secret`.
pub(crate) const LOGIN: (&str, &str) = ("testuser", "secret");
const HTPASSWD: &str = "testuser:$2b$04$F9EQbiwRg9ReswLj8eN/deU5fhZt7FQwr.FQuyr7wiANEkxjXt6wu\n";

/// See the module. The process and its data go with the value.
pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
    login: bool,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry, or says why the test is skipped. In CI its absence is a failure.
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    pub(crate) fn start(login: bool) -> Option<Self> {
        let folder = TempDir::new().expect("temporary folder");
        // The port is free again when the registry binds it; loopback ports are not reused at once.
        let port =
            TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port();
        let address = format!("127.0.0.1:{port}");
        let file = folder.path().join("config.yml");
        std::fs::write(&file, settings(folder.path(), &address, login)).expect("write settings");
        let log = std::fs::File::create(folder.path().join("log")).expect("log");
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
                assert!(!ci, "docker-registry does not start: {error}");
                eprintln!(
                    "skipped: docker-registry (package docker-registry) does not start: {error}"
                );
                return None;
            }
        };
        let registry = Self { process, address, login, _folder: folder };
        registry.wait();
        Some(registry)
    }

    /// Puts an image of gzipped layers at `repository:tag`; returns its manifest's digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, layers: &[Layer]) -> Digest {
        let manifest = self.push_parts(repository, layers);
        self.put_manifest(
            repository,
            tag,
            "application/vnd.docker.distribution.manifest.v2+json",
            &manifest,
        )
    }

    /// Puts an index with one image for another machine and one for this; returns the index' digest.
    pub(crate) fn push_index(&self, repository: &str, tag: &str, layers: &[Layer]) -> Digest {
        const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
        let mut entries = Vec::new();
        let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let other = [Layer::new().file("wrong", b"machine")];
        for (architecture, layers) in [("s390x", other.as_slice()), (here, layers)] {
            let mut manifest = self.push_parts(repository, layers);
            manifest["mediaType"] = json!(MANIFEST);
            let digest = Digest::of(&serde_json::to_vec(&manifest).expect("JSON"));
            self.put_manifest(repository, digest.as_str(), MANIFEST, &manifest);
            let size = serde_json::to_vec(&manifest).expect("JSON").len();
            let platform = json!({"os": "linux", "architecture": architecture});
            entries.push(json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}));
        }
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
        self.put_manifest(repository, tag, kind, &index)
    }

    fn push_parts(&self, repository: &str, layers: &[Layer]) -> Value {
        let tars: Vec<Vec<u8>> = layers.iter().map(Layer::tar).collect();
        let digests: Vec<Digest> = tars.iter().map(|tar| Digest::of(tar)).collect();
        let part = |bytes: &[u8], kind: &str| {
            let digest = self.put_blob(repository, bytes);
            json!({"mediaType": kind, "size": bytes.len(), "digest": digest})
        };
        let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let layers: Vec<Value> = tars.iter().map(|tar| part(&gzip(tar), layer)).collect();
        let config = part(&config(&digests), "application/vnd.docker.container.image.v1+json");
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config, "layers": layers,
        })
    }

    fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let (status, location) =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        assert_eq!(status, 202, "start upload");
        let place = location
            .split_once(&self.address)
            .map_or(location.as_str(), |(_, path)| path)
            .to_owned();
        let (status, _) = self.request(
            "PUT",
            &format!("{place}&digest={digest}"),
            "application/octet-stream",
            bytes,
        );
        assert_eq!(status, 201, "finish upload");
        digest
    }

    fn put_manifest(&self, repository: &str, name: &str, kind: &str, manifest: &Value) -> Digest {
        let bytes = serde_json::to_vec(manifest).expect("JSON");
        let (status, _) =
            self.request("PUT", &format!("/v2/{repository}/manifests/{name}"), kind, &bytes);
        assert_eq!(status, 201, "put manifest");
        Digest::of(&bytes)
    }

    /// One HTTP/1.1 exchange; returns the status and the `Location` header.
    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connect to the registry");
        let login = STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
        let authorization =
            if self.login { format!("Authorization: Basic {login}\r\n") } else { String::new() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("send");
        stream.write_all(body).expect("send");
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("answer");
            if line.trim().is_empty() {
                break;
            }
            lines.push(line);
        }
        let _ = reader.read_to_end(&mut Vec::new());
        let status =
            lines[0].split(' ').nth(1).and_then(|status| status.parse().ok()).expect("status");
        let location = lines.iter().find_map(|line| line.strip_prefix("Location: "));
        (status, location.unwrap_or_default().trim().to_owned())
    }

    /// Waits until the registry accepts connections.
    fn wait(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while TcpStream::connect(&self.address).is_err() {
            assert!(std::time::Instant::now() < deadline, "docker-registry does not listen");
            std::thread::yield_now();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn settings(folder: &std::path::Path, address: &str, login: bool) -> String {
    let storage = folder.join("data");
    let mut text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
        storage.display()
    );
    if login {
        let file = folder.join("htpasswd");
        std::fs::write(&file, HTPASSWD).expect("write htpasswd");
        text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display());
    }
    text
}
