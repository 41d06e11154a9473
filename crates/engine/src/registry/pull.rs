//! `docker pull`: from a reference to an image in the store, with Docker's lines on the way.

use std::fs::File;
use std::sync::Arc;

use oci_client::secrets::RegistryAuth;
use tokio::sync::Semaphore;

use super::RegistryClient;
use super::download::{CONCURRENCY, Download};
use super::manifest::{Descriptor, ImageManifest, Manifest, choose};
use super::session::{Fetched, Session, open};
use crate::error::{Error, Result, io};
use crate::image::config::{Image, chain_ids};
use crate::image::durable::ScratchFolder;
use crate::image::lease::Lease;
use crate::image::progress::Bar;
use crate::image::{
    Digest, ImageStore, Message, Platform, Progress, Reference, check_os, decompress,
};

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The image; without tag and digest, `latest`.
    pub reference: Reference,
    /// The platform; this machine's if it is not said.
    pub platform: Option<Platform>,
    /// The credentials.
    pub auth: RegistryAuth,
}

impl RegistryClient {
    /// Pulls an image. Stops when the reader of `progress` is dropped; a stopped or failed pull leaves nothing behind.
    pub async fn pull(&self, request: PullRequest, progress: &Progress) -> Result<Arc<Image>> {
        tokio::select! {
            outcome = self.pull_all(request, progress) => outcome,
            () = progress.closed() => Err(Error::system("context canceled")),
        }
    }

    async fn pull_all(&self, request: PullRequest, progress: &Progress) -> Result<Arc<Image>> {
        let reference = request.reference.or_latest();
        if reference.familiar_name() == "scratch" {
            return Err(Error::invalid("'scratch' is a reserved name"));
        }
        let (session, fetched) = open(&self.config, &reference, &request.auth).await?;
        let version =
            reference.digest().map_or(reference.tag().unwrap_or_default(), Digest::as_str);
        progress.send(Message::of(version, format!("Pulling from {}", reference.path()))).await;
        let digest = fetched.digest.clone();
        let platform = request.platform.unwrap_or_else(Platform::host);
        let manifest = select(&session, fetched, &platform).await?;
        let by_digest = reference.with_digest(digest.clone());
        let mut names = vec![by_digest];
        names.extend(reference.digest().is_none().then(|| reference.clone()));
        let (image, news) = self.install(&session, &manifest, &names, progress).await?;
        progress.send(Message::status(format!("Digest: {digest}"))).await;
        let status = if news { "Downloaded newer image" } else { "Image is up to date" };
        progress
            .send(Message::status(format!("Status: {status} for {}", reference.familiar())))
            .await;
        Ok(image)
    }

    /// Brings what the store lacks of an image; says whether anything changed.
    async fn install(
        &self,
        session: &Session,
        manifest: &ImageManifest,
        names: &[Reference],
        progress: &Progress,
    ) -> Result<(Arc<Image>, bool)> {
        if let Ok(known) = self.images.resolve(manifest.config.digest.as_str()) {
            let news = self.images.name_all(&known, names)?;
            return Ok((known, news));
        }
        let config = session.config(&manifest.config).await?;
        let image = Image::parse(&config)?;
        check_os(&image)?;
        let diff_ids = image.file.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(Error::invalid(
                "invalid rootfs in image configuration: its layers are not those of the manifest",
            ));
        }
        let mut lease = Lease::new(&self.images);
        self.install_layers(session, &manifest.layers, &diff_ids, &mut lease, progress).await?;
        let (images, names) = (self.images.clone(), names.to_vec());
        let added = blocking(move || images.add(&config, &names, &lease)).await?;
        Ok((added, true))
    }

    async fn install_layers(
        &self,
        session: &Session,
        layers: &[Descriptor],
        diff_ids: &[Digest],
        lease: &mut Lease,
        progress: &Progress,
    ) -> Result<()> {
        let scratch =
            ScratchFolder::new(&self.images.scratch()).map_err(io("create download folder"))?;
        let turns = Arc::new(Semaphore::new(CONCURRENCY));
        let chain = chain_ids(diff_ids);
        let mut downloads: Vec<Option<Download>> = Vec::new();
        for ((number, layer), chain) in layers.iter().enumerate().zip(&chain) {
            let here = self.images.hold_layer(chain, lease);
            let status = if here { "Already exists" } else { "Pulling fs layer" };
            progress
                .send(Message::of(layer.digest.short(), status).with_progress(None, None))
                .await;
            let target = scratch.path().join(number.to_string());
            downloads.push((!here).then(|| {
                Download::start(
                    session.clone(),
                    layer.clone(),
                    target,
                    turns.clone(),
                    progress.clone(),
                )
            }));
        }
        let mut parent: Option<Digest> = None;
        for (((download, layer), diff_id), chain) in
            downloads.into_iter().zip(layers).zip(diff_ids).zip(chain)
        {
            if let Some(download) = download {
                let file = download.finish().await?;
                let bar = Bar::new(layer.digest.short(), "Extracting", layer.size, progress);
                let work = Extraction {
                    images: self.images.clone(),
                    parent,
                    diff_id: diff_id.clone(),
                    bar,
                };
                blocking(move || work.run(&file)).await?;
                progress
                    .send(
                        Message::of(layer.digest.short(), "Pull complete")
                            .with_progress(None, None),
                    )
                    .await;
            }
            parent = Some(chain);
        }
        Ok(())
    }
}

/// A layer about to be unpacked. Its own lease, as the work runs on when the pull is cancelled.
struct Extraction {
    images: ImageStore,
    parent: Option<Digest>,
    diff_id: Digest,
    bar: Bar,
}

impl Extraction {
    fn run(self, file: &std::path::Path) -> Result<()> {
        let mut lease = Lease::new(&self.images);
        if let Some(parent) = &self.parent {
            lease.hold(parent);
        }
        let source = File::open(file).map_err(io("open layer"))?;
        let reader = decompress(self.bar.watch(source)).map_err(io("read layer"))?;
        self.images.add_layer(self.parent.as_ref(), Some(&self.diff_id), reader, &mut lease)?;
        std::fs::remove_file(file).map_err(io("remove layer archive"))
    }
}

/// The image's manifest, looked up in the index if that is what came.
async fn select(session: &Session, fetched: Fetched, platform: &Platform) -> Result<ImageManifest> {
    let entries = match fetched.manifest {
        Manifest::Image(image) => return Ok(image),
        Manifest::Index(entries) => entries,
    };
    let entry = choose(&entries, platform)?;
    match session.manifest(Some(&entry.digest)).await.map_err(|failure| failure.error)?.manifest {
        Manifest::Image(image) => Ok(image),
        Manifest::Index(_) => {
            Err(Error::system("invalid manifest list: an entry is a list itself"))
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::system("the work was interrupted").with_source(e))?
}
