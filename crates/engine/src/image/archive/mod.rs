//! `docker load`: images out of an archive, be it `docker save`'s or an OCI layout's.
//!
//! The archive's entries are never unpacked under their own names: `spool` keeps their contents in numbered files,
//! `docker` and `oci` read the two formats into the same [`Found`], and one place here loads that. All images of an
//! archive are checked before the first becomes visible.

mod docker;
mod oci;
mod spool;

use std::io::Read;
use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use self::spool::Spool;
use super::config::{Image, chain_ids};
use super::decompress;
use super::digest::Digest;
use super::lease::Lease;
use super::progress::{Bar, Message, Progress};
use super::reference::Reference;
use super::store::ImageStore;
use crate::error::{Error, Result};

/// One image of an archive.
struct Found {
    config: Vec<u8>,
    /// The layers' names in the archive, lowest first.
    layers: Vec<String>,
    names: Vec<Reference>,
}

impl ImageStore {
    /// Loads every image of an archive, plain or compressed; tells `progress` what `docker load` prints.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        progress: Progress,
    ) -> Result<Vec<Arc<Image>>> {
        let store = self.clone();
        let reader = SyncIoBridge::new(archive);
        let work = tokio::task::spawn_blocking(move || store.load_blocking(reader, &progress));
        work.await.map_err(|e| Error::system("loading was interrupted").with_source(e))?
    }

    /// As [`load`](Self::load), on the calling thread.
    pub fn load_blocking(
        &self,
        archive: impl Read + Send,
        progress: &Progress,
    ) -> Result<Vec<Arc<Image>>> {
        let spool = Spool::fill(&self.scratch(), decompress(archive).map_err(spool::unreadable)?)?;
        let found =
            if spool.has(docker::MANIFEST) { docker::read(&spool)? } else { oci::read(&spool)? };
        let mut lease = Lease::new(self);
        for image in &found {
            self.load_layers(image, &spool, &mut lease, progress)?;
        }
        let mut loaded = Vec::new();
        for image in &found {
            loaded.push(self.add(&image.config, &image.names, &lease)?);
        }
        report(&found, &loaded, progress);
        Ok(loaded)
    }

    fn load_layers(
        &self,
        found: &Found,
        spool: &Spool,
        lease: &mut Lease,
        progress: &Progress,
    ) -> Result<()> {
        let image = Image::parse(&found.config)?;
        check_os(&image)?;
        let diff_ids = &image.file.rootfs.diff_ids;
        if found.layers.len() != diff_ids.len() {
            let (expected, got) = (found.layers.len(), diff_ids.len());
            let message =
                format!("invalid manifest, layers length mismatch: expected {expected}, got {got}");
            return Err(Error::invalid(message));
        }
        let mut parent: Option<Digest> = None;
        for ((chain, diff_id), name) in
            chain_ids(diff_ids).into_iter().zip(diff_ids).zip(&found.layers)
        {
            if !self.hold_layer(&chain, lease) {
                let file = spool.open(name)?;
                let total = file.metadata().map_err(spool::unreadable)?.len();
                let bar = Bar::new(diff_id.short(), "Loading layer", total, progress);
                let layer = decompress(bar.watch(file)).map_err(spool::unreadable)?;
                self.add_layer(parent.as_ref(), Some(diff_id), layer, lease)?;
            }
            parent = Some(chain);
        }
        Ok(())
    }
}

/// Refuses images of other operating systems, which no container here could run.
pub(crate) fn check_os(image: &Image) -> Result<()> {
    match image.file.os.as_str() {
        "" | "linux" => Ok(()),
        os => Err(Error::invalid(format!("cannot load {os} image on linux"))),
    }
}

fn report(found: &[Found], loaded: &[Arc<Image>], progress: &Progress) {
    for (found, image) in found.iter().zip(loaded) {
        for name in &found.names {
            progress.send_blocking(Message::stream(format!("Loaded image: {}\n", name.familiar())));
        }
        if found.names.is_empty() {
            progress.send_blocking(Message::stream(format!("Loaded image ID: {}\n", image.id)));
        }
    }
}
