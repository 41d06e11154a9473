//! `docker import`: a root file system's tar stream becomes an image of one layer.

use std::io::Read;
use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::changes;
use super::config::{ConfigFile, History, Image, RootFs};
use super::decompress;
use super::lease::Lease;
use super::platform::Platform;
use super::reference::Reference;
use super::store::ImageStore;
use crate::error::{Error, Result};
use crate::timestamp;

/// What an import makes besides the layer.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name to give; none makes an image without one.
    pub name: Option<Reference>,
    /// Dockerfile instructions to apply.
    pub changes: Vec<String>,
    /// The commit message.
    pub message: Option<String>,
    /// What the content was built for; this machine if it is not said.
    pub platform: Option<Platform>,
}

impl ImageStore {
    /// Makes an image of a tar stream, plain or compressed.
    pub async fn import(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        options: ImportOptions,
    ) -> Result<Arc<Image>> {
        let store = self.clone();
        let reader = SyncIoBridge::new(tar);
        let work = tokio::task::spawn_blocking(move || store.import_blocking(reader, options));
        work.await.map_err(|e| Error::system("importing was interrupted").with_source(e))?
    }

    /// As [`import`](Self::import), on the calling thread.
    pub fn import_blocking(
        &self,
        tar: impl Read + Send,
        options: ImportOptions,
    ) -> Result<Arc<Image>> {
        if options.name.as_ref().is_some_and(|name| name.digest().is_some()) {
            return Err(Error::invalid("cannot import digest reference"));
        }
        let config = changes::apply(&options.changes)?;
        let mut lease = Lease::new(self);
        let tar = decompress(tar).map_err(|e| Error::invalid(e.to_string()).with_source(e))?;
        let diff_id = self.add_layer(None, None, tar, &mut lease)?;
        let platform = options.platform.unwrap_or_else(Platform::host);
        let created = Some(timestamp::now());
        let comment = options.message.unwrap_or_default();
        let history =
            History { created: created.clone(), comment: comment.clone(), ..History::default() };
        let file = ConfigFile {
            architecture: platform.architecture,
            variant: platform.variant.unwrap_or_default(),
            os: platform.os,
            created,
            author: String::new(),
            comment,
            config: Some(config),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
            history: Some(vec![history]),
        };
        let json = serde_json::to_vec(&file)
            .map_err(|e| Error::system("encode image config").with_source(e))?;
        let names: Vec<Reference> = options.name.map(Reference::or_latest).into_iter().collect();
        self.add(&json, &names, &lease)
    }
}
