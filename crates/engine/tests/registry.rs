//! Pulling from a real registry: what arrives, what Docker's clients are told, and how failures are worded.

mod support;

use std::time::{Duration, Instant};

use support::archive::{Layer, config, gzip};
use support::fake_registry::{Answer, Content, FakeRegistry};
use support::registry::{LOGIN, Registry};
use support::store_files;
use swarm_engine::image::{Digest, ImageStore, ListOptions, Message, Progress, Reference};
use swarm_engine::registry::{PullRequest, RegistryAuth, RegistryClient, RegistryConfig};
use swarm_engine::{ErrorClass, Result};
use tempfile::TempDir;

struct Host {
    root: TempDir,
    images: ImageStore,
    client: RegistryClient,
}

fn host(config: RegistryConfig) -> Host {
    let root = TempDir::new().expect("temporary folder");
    let images = ImageStore::open(root.path()).expect("open");
    let client = RegistryClient::new(images.clone(), config);
    Host { root, images, client }
}

impl Host {
    /// Pulls; returns the lines that a client sees.
    async fn pull(&self, image: &str, auth: RegistryAuth) -> Result<Vec<Message>> {
        let (progress, mut lines) = Progress::channel();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(line) = lines.recv().await {
                all.push(line);
            }
            all
        });
        let request = PullRequest {
            reference: Reference::parse(image).expect("valid"),
            platform: None,
            auth,
        };
        let outcome = self.client.pull(request, &progress).await;
        drop(progress);
        let lines = reading.await.expect("reader");
        outcome.map(|_| lines)
    }
}

/// The lines without bars, which come as the machine pleases.
fn text(lines: &[Message]) -> Vec<String> {
    let moving = ["Waiting", "Downloading", "Extracting"];
    let line = |m: &Message| match (&m.id, &m.status) {
        (_, Some(status)) if moving.contains(&status.as_str()) => None,
        (Some(id), Some(status)) => Some(format!("{id}: {status}")),
        (None, Some(status)) => Some(status.clone()),
        _ => None,
    };
    lines.iter().filter_map(line).collect()
}

fn basic(password: &str) -> RegistryAuth {
    RegistryAuth::Basic(LOGIN.0.to_owned(), password.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_brings_the_image_and_tells_docker() {
    let Some(registry) = Registry::start(false) else { return };
    let layer = Layer::new().file("a", b"one");
    let digest = registry.push("team/app", "v1", std::slice::from_ref(&layer));
    let host = host(RegistryConfig::default());
    let image = format!("{}/team/app:v1", registry.address);
    let lines = text(&host.pull(&image, RegistryAuth::Anonymous).await.expect("pull"));
    let id = lines[1].split(':').next().expect("layer ID").to_owned();
    assert_eq!(
        lines,
        [
            "v1: Pulling from team/app".to_owned(),
            format!("{id}: Pulling fs layer"),
            format!("{id}: Verifying Checksum"),
            format!("{id}: Download complete"),
            format!("{id}: Pull complete"),
            format!("Digest: {digest}"),
            format!("Status: Downloaded newer image for {image}"),
        ]
    );
    let dirs = host.images.lower_dirs(&image).expect("image");
    assert_eq!(std::fs::read(dirs[0].join("a")).expect("content"), b"one");
    let listed = host.images.list(&ListOptions::default()).expect("list");
    assert_eq!(listed[0].repo_digests, [format!("{}/team/app@{digest}", registry.address)]);
    assert_eq!(listed[0].repo_tags, std::slice::from_ref(&image));

    let again = text(&host.pull(&image, RegistryAuth::Anonymous).await.expect("pull again"));
    assert_eq!(
        again,
        [
            "v1: Pulling from team/app".to_owned(),
            format!("Digest: {digest}"),
            format!("Status: Image is up to date for {image}")
        ]
    );

    let newer = registry.push("team/app", "v1", &[layer, Layer::new().file("b", b"two")]);
    let lines = text(&host.pull(&image, RegistryAuth::Anonymous).await.expect("pull newer"));
    assert_eq!(lines[1], format!("{id}: Already exists"));
    assert!(lines.contains(&format!("Digest: {newer}")));
    // The tag moved; the older image is still there under its digest.
    host.images
        .resolve(&format!("{}/team/app@{digest}", registry.address))
        .expect("older by digest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_pulled_as_it_is() {
    let Some(registry) = Registry::start(false) else { return };
    let digest = registry.push("app", "v1", &[Layer::new().file("a", b"one")]);
    registry.push("app", "v1", &[Layer::new().file("a", b"two")]);
    let host = host(RegistryConfig::default());
    let pinned = format!("{}/app:v1@{digest}", registry.address);
    host.pull(&pinned, RegistryAuth::Anonymous).await.expect("pull");
    let dirs = host.images.lower_dirs(&pinned).expect("image");
    assert_eq!(std::fs::read(dirs[0].join("a")).expect("content"), b"one");
    host.images
        .resolve(&format!("{}/app:v1", registry.address))
        .expect_err("a digest names no tag");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_this_machines_image_is_taken() {
    let Some(registry) = Registry::start(false) else { return };
    let layers: Vec<Layer> =
        (0..8).map(|n| Layer::new().file(&format!("f{n}"), &vec![n; 300_000])).collect();
    let digest = registry.push_index("multi", "latest", &layers);
    let host = host(RegistryConfig::default());
    let image = format!("{}/multi", registry.address);
    let lines = text(&host.pull(&image, RegistryAuth::Anonymous).await.expect("pull"));
    assert!(lines.contains(&format!("Digest: {digest}")));
    assert_eq!(lines.iter().filter(|line| line.ends_with("Pull complete")).count(), 8);
    assert_eq!(host.images.lower_dirs(&image).expect("image").len(), 8);

    let reference = Reference::parse(&image).expect("valid");
    let inspect = host
        .client
        .distribution_inspect(&reference, &RegistryAuth::Anonymous)
        .await
        .expect("inspect");
    assert_eq!(inspect.descriptor.digest, Some(digest.to_string()));
    assert_eq!(
        inspect.descriptor.media_type.as_deref(),
        Some("application/vnd.oci.image.index.v1+json")
    );
    let architectures: Vec<_> =
        inspect.platforms.iter().filter_map(|p| p.architecture.as_deref()).collect();
    assert_eq!(architectures[0], "s390x");
    assert_eq!(architectures.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_needed_where_it_is_needed() {
    let Some(registry) = Registry::start(true) else { return };
    registry.push("private/app", "v1", &[Layer::new().file("a", b"one")]);
    let host = host(RegistryConfig::default());
    let before = store_files(host.root.path());
    let image = format!("{}/private/app:v1", registry.address);
    let url = format!("http://{}/v2/private/app/manifests/v1", registry.address);
    for (auth, message, class) in [
        (
            RegistryAuth::Anonymous,
            format!("Get \"{url}\": no basic auth credentials"),
            ErrorClass::System,
        ),
        (
            basic("wrong"),
            "unauthorized: authentication required".to_owned(),
            ErrorClass::Unauthorized,
        ),
    ] {
        let error = host.pull(&image, auth).await.expect_err("no login");
        assert_eq!((error.to_string(), error.class()), (message, class));
        assert_eq!(store_files(host.root.path()), before);
    }
    host.pull(&image, basic(LOGIN.1)).await.expect("pull with login");
    let reference = Reference::parse(&image).expect("valid");
    host.client
        .distribution_inspect(&reference, &basic(LOGIN.1))
        .await
        .expect("inspect with login");
    host.client
        .distribution_inspect(&reference, &RegistryAuth::Anonymous)
        .await
        .expect_err("inspect without");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_dockers_words() {
    let Some(registry) = Registry::start(false) else { return };
    registry.push("app", "v1", &[Layer::new().file("a", b"one")]);
    let host = host(RegistryConfig::default());
    let address = &registry.address;
    let error = host
        .pull(&format!("{address}/app:v2"), RegistryAuth::Anonymous)
        .await
        .expect_err("no such tag");
    assert_eq!(
        error.to_string(),
        format!("manifest for {address}/app:v2 not found: manifest unknown: manifest unknown")
    );
    assert_eq!(error.class(), ErrorClass::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_noticed_at_once() {
    let host = host(RegistryConfig {
        mirrors: vec!["http://127.0.0.1:1".into()],
        ..RegistryConfig::default()
    });
    let started = Instant::now();
    let error =
        host.pull("127.0.0.1:1/app", RegistryAuth::Anonymous).await.expect_err("nobody there");
    assert_eq!(
        error.to_string(),
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
    // An address that never answers (TEST-NET-1, or no route at all).
    let error =
        host.pull("192.0.2.1:5000/app", RegistryAuth::Anonymous).await.expect_err("no answer");
    assert!(
        error
            .to_string()
            .starts_with("Get \"https://192.0.2.1:5000/v2/\": dial tcp 192.0.2.1:5000: "),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(8), "took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_stops_the_pull() {
    let Some(registry) = Registry::start(false) else { return };
    registry.push("app", "v1", &[Layer::new().file("a", &vec![1; 2_000_000])]);
    let host = host(RegistryConfig::default());
    let before = store_files(host.root.path());
    let (progress, lines) = Progress::channel();
    drop(lines);
    let reference = Reference::parse(&format!("{}/app:v1", registry.address)).expect("valid");
    let request = PullRequest { reference, platform: None, auth: RegistryAuth::Anonymous };
    let _ = host.client.pull(request, &progress).await;
    assert!(host.images.list(&ListOptions::default()).expect("list").is_empty());
    assert_eq!(store_files(host.root.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_of_one_image_at_once_both_succeed() {
    let Some(registry) = Registry::start(false) else { return };
    registry.push("app", "v1", &[Layer::new().file("a", b"one"), Layer::new().file("b", b"two")]);
    let host = host(RegistryConfig::default());
    let image = format!("{}/app:v1", registry.address);
    let (one, two) = tokio::join!(
        host.pull(&image, RegistryAuth::Anonymous),
        host.pull(&image, RegistryAuth::Anonymous)
    );
    one.expect("first");
    two.expect("second");
    assert_eq!(host.images.list(&ListOptions::default()).expect("list").len(), 1);
}

/// An image for a fake registry: the answers that make it up, and its layer's digest.
fn prepared() -> (Content, Digest) {
    let tar = Layer::new().file("a", b"one").tar();
    let (layer, config) = (gzip(&tar), config(&[Digest::of(&tar)]));
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(&config), "size": config.len()},
        "layers": [{"mediaType": "x", "digest": Digest::of(&layer), "size": layer.len()}],
    });
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    let blob = |bytes: &[u8]| {
        (format!("/v2/app/blobs/{}", Digest::of(bytes)), answer("application/octet-stream", bytes))
    };
    let answers = [
        ("/v2/app/manifests/v1".to_owned(), answer(MANIFEST, &manifest)),
        (format!("/v2/app/manifests/{}", Digest::of(&manifest)), answer(MANIFEST, &manifest)),
        blob(&config),
        blob(&layer),
    ];
    (Content { answers: answers.into(), login: None }, Digest::of(&layer))
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn answer(kind: &'static str, body: &[u8]) -> Answer {
    Answer { status: 200, kind, body: body.to_vec() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_is_asked_for_a_token() {
    // Base64 of `testuser:secret`.
    let login = Some("Basic dGVzdHVzZXI6c2VjcmV0".to_owned());
    let registry = FakeRegistry::start(Content { login, ..prepared().0 });
    let host = host(RegistryConfig::default());
    let image = format!("{}/app:v1", registry.address);
    let error = host.pull(&image, RegistryAuth::Anonymous).await.expect_err("anonymous");
    let name = format!("{}/app", registry.address);
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': \
             denied: requested access to the resource is denied"
        )
    );
    assert_eq!(error.class(), ErrorClass::NotFound);
    let error = host.pull(&image, basic("wrong")).await.expect_err("wrong password");
    let url = format!("http://{}/v2/", registry.address);
    assert_eq!(
        error.to_string(),
        format!("Get \"{url}\": unauthorized: incorrect username or password")
    );
    host.pull(&image, basic(LOGIN.1)).await.expect("pull");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_what_its_name_says_is_refused() {
    let (good, layer) = prepared();
    let change = |path: &str, body: &[u8]| {
        let mut content = good.clone();
        content.answers.get_mut(path).expect(path).body = body.to_vec();
        content
    };
    let manifest = good
        .answers
        .keys()
        .find(|path| path.contains("/manifests/sha256:"))
        .expect("manifest")
        .clone();
    let pinned = manifest.rsplit('/').next().expect("digest").to_owned();
    let other = [good.answers[&manifest].body.as_slice(), b" "].concat();
    let layer = format!("/v2/app/blobs/{layer}");
    let config = good
        .answers
        .keys()
        .find(|path| path.contains("/blobs/") && **path != layer)
        .expect("config");
    let evil = Layer::new().file("a", b"evil").tar();
    for (what, content, image) in [
        ("manifest", change(&manifest, &other), format!("app@{pinned}")),
        ("config", change(config, b"{}"), "app:v1".to_owned()),
        ("layer", change(&layer, &gzip(&evil)), "app:v1".to_owned()),
        ("garbage", change("/v2/app/manifests/v1", b"<html>"), "app:v1".to_owned()),
        (
            "schema 1",
            change("/v2/app/manifests/v1", br#"{"schemaVersion":1}"#),
            "app:v1".to_owned(),
        ),
    ] {
        let registry = FakeRegistry::start(content);
        let host = host(RegistryConfig::default());
        let before = store_files(host.root.path());
        let pulled =
            host.pull(&format!("{}/{image}", registry.address), RegistryAuth::Anonymous).await;
        assert!(pulled.is_err(), "{what}");
        assert!(host.images.list(&ListOptions::default()).expect("list").is_empty(), "{what}");
        assert_eq!(store_files(host.root.path()), before, "{what}");
    }
}
