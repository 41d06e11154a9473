//! The image store: opens the folder, finds images by what users call them, and adds layers and images.
//!
//! On disk, in the store's folder: `blobs/sha256/<hex>` (configs), `layers/<chain ID>/{diff,layer.json}`, `index.json`
//! and `tmp`. All methods block on the disk; callers on an async runtime use `spawn_blocking` where that matters.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::Image;
use super::digest::{Digest, is_lower_hex};
use super::durable;
use super::index::Index;
use super::layers::{LayerRecord, read_layer};
use super::lease::Lease;
use super::reference::{AnyReference, Reference};
use crate::error::{Error, Result, io};
use crate::timestamp;
use bollard_stubs::models::ImageConfig;

/// The images of one engine; clones share it.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    state: Mutex<State>,
}

/// What the store knows in memory; the files say the same.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) images: BTreeMap<Digest, Arc<Image>>,
    pub(crate) layers: BTreeMap<Digest, LayerRecord>,
    pub(crate) leases: HashMap<Digest, usize>,
}

impl ImageStore {
    /// Opens the store in folder `root`, creating it if needed; what an earlier crash left half-done is removed.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.to_owned();
        for folder in ["blobs/sha256", "layers"] {
            fs::create_dir_all(root.join(folder))
                .map_err(io(format!("create {}", root.display())))?;
        }
        // Images hold set-user-ID programs, which no other user of the host may reach; a mount needs no path to them.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))
            .map_err(io(format!("protect {}", root.display())))?;
        durable::fresh_scratch(&root.join("tmp"))
            .map_err(io(format!("create {}", root.display())))?;
        let index = Index::read(&root.join("index.json"))?;
        let state = State {
            index,
            images: BTreeMap::new(),
            layers: BTreeMap::new(),
            leases: HashMap::new(),
        };
        let store = Self { inner: Arc::new(Inner { root, state: Mutex::new(state) }) };
        store.scan()?;
        Ok(store)
    }

    /// Finds an image by name, name and tag, digest, or ID in full or in part.
    pub fn resolve(&self, name: &str) -> Result<Arc<Image>> {
        self.state().resolve(name)
    }

    /// What a container of the image runs by default.
    pub fn config(&self, name: &str) -> Result<ImageConfig> {
        Ok(self.resolve(name)?.config())
    }

    /// The image's layers as folders for overlayfs' `lowerdir`, top first.
    pub fn lower_dirs(&self, name: &str) -> Result<Vec<PathBuf>> {
        let image = self.resolve(name)?;
        Ok(image
            .chain_ids()
            .iter()
            .rev()
            .map(|layer| self.layer_folder(layer).join("diff"))
            .collect())
    }

    /// All names of an image, tags and digests.
    pub fn names(&self, image: &Digest) -> Vec<Reference> {
        self.state().index.names(image)
    }

    /// Gives an image another name; a name that another image had moves.
    pub fn tag(&self, name: &str, target: &Reference) -> Result<Arc<Image>> {
        let mut state = self.state();
        let image = state.resolve(name)?;
        self.update(&mut state, |index| {
            index.set(target, &image.id);
            if let Some(record) = index.images.get_mut(&image.id) {
                record.last_tagged = Some(timestamp::now());
            }
        })?;
        Ok(image)
    }

    /// Gives an image names, by a pull that found it here; says whether it lacked one.
    pub(crate) fn name_all(&self, image: &Image, names: &[Reference]) -> Result<bool> {
        let mut state = self.state();
        if names.iter().all(|name| state.index.get(name) == Some(&image.id)) {
            return Ok(false);
        }
        // It may have been removed since it was found; naming nothing would be worse than pulling again.
        state.resolve(image.id.as_str())?;
        self.update(&mut state, |index| {
            for name in names {
                index.set(name, &image.id);
            }
            if let Some(record) = index.images.get_mut(&image.id) {
                record.last_tagged = Some(timestamp::now());
            }
        })?;
        Ok(true)
    }

    /// Adds an image whose layers are here under `lease`, with its names.
    pub(crate) fn add(
        &self,
        config: &[u8],
        names: &[Reference],
        _lease: &Lease,
    ) -> Result<Arc<Image>> {
        let image = Arc::new(Image::parse(config)?);
        let mut state = self.state();
        if let Some(missing) =
            image.chain_ids().iter().find(|layer| !state.layers.contains_key(layer))
        {
            return Err(Error::system(format!(
                "layer {missing} of image {} is not in the store",
                image.id
            )));
        }
        durable::write(&self.scratch(), &self.blob(&image.id), config)
            .map_err(io("write image config"))?;
        self.update(&mut state, |index| {
            let record = index.images.entry(image.id.clone()).or_default();
            if !names.is_empty() {
                record.last_tagged = Some(timestamp::now());
            }
            for name in names {
                index.set(name, &image.id);
            }
        })?;
        state.images.insert(image.id.clone(), image.clone());
        Ok(image)
    }

    /// A folder for work in progress, on the store's file system.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.inner.root.join("tmp")
    }

    /// The stored bytes of an image's config.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.inner.root.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn layer_folder(&self, chain: &Digest) -> PathBuf {
        self.inner.root.join("layers").join(chain.hex())
    }

    /// The state, locked. Holders never panic half-way through a change: the index is replaced whole.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the index: on disk first, then in memory; a failed write changes nothing.
    pub(crate) fn update(&self, state: &mut State, change: impl FnOnce(&mut Index)) -> Result<()> {
        let mut index = state.index.clone();
        change(&mut index);
        index.write(&self.scratch(), &self.inner.root.join("index.json"))?;
        state.index = index;
        Ok(())
    }

    /// Reads what is on disk; drops images that lost a file, and files that no image reaches.
    fn scan(&self) -> Result<()> {
        let mut state = self.state();
        for chain in self.stored("layers")? {
            match read_layer(&self.layer_folder(&chain)) {
                Ok(record) => drop(state.layers.insert(chain, record)),
                Err(error) => {
                    tracing::warn!(layer = %chain, %error, "unreadable layer is removed");
                    durable::remove_folder(&self.scratch(), &self.layer_folder(&chain))
                        .map_err(io("remove layer"))?;
                }
            }
        }
        let mut lost = Vec::new();
        for id in state.index.images.keys().cloned().collect::<Vec<_>>() {
            match self.read_image(&id, &state) {
                Ok(image) => drop(state.images.insert(id, Arc::new(image))),
                Err(error) => {
                    tracing::warn!(image.id = %id, %error, "image is damaged and forgotten");
                    lost.push(id);
                }
            }
        }
        if !lost.is_empty() {
            self.update(&mut state, |index| lost.iter().for_each(|id| index.forget(id)))?;
        }
        self.collect(&mut state);
        for blob in
            self.stored("blobs/sha256")?.iter().filter(|blob| !state.images.contains_key(blob))
        {
            fs::remove_file(self.blob(blob)).map_err(io("remove unused blob"))?;
        }
        Ok(())
    }

    fn read_image(&self, id: &Digest, state: &State) -> Result<Image> {
        let bytes = fs::read(self.blob(id)).map_err(io("read image config"))?;
        let image = Image::parse(&bytes)?;
        if image.id != *id {
            return Err(Error::system(format!("image config {id} is damaged")));
        }
        match image.chain_ids().into_iter().find(|layer| !state.layers.contains_key(layer)) {
            Some(layer) => Err(Error::system(format!("layer {layer} is missing"))),
            None => Ok(image),
        }
    }

    /// The digests that name the entries of a folder.
    fn stored(&self, folder: &str) -> Result<Vec<Digest>> {
        let entries = fs::read_dir(self.inner.root.join(folder)).map_err(io("read image store"))?;
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
        Ok(names.filter_map(|name| Digest::parse(&format!("sha256:{name}")).ok()).collect())
    }
}

impl State {
    /// See [`ImageStore::resolve`].
    pub(crate) fn resolve(&self, name: &str) -> Result<Arc<Image>> {
        let reference = AnyReference::parse(name)?;
        let found = match &reference {
            AnyReference::Id(id) => self.images.get(id),
            AnyReference::Named(named) => self
                .index
                .get(named)
                .and_then(|id| self.images.get(id))
                .or_else(|| self.by_prefix(name)),
        };
        found.cloned().ok_or_else(|| match reference {
            AnyReference::Id(id) => no_such_image(id.as_str()),
            AnyReference::Named(named) => no_such_image(&named.or_latest().familiar()),
        })
    }

    /// The one image whose ID begins so. Several are the same to Docker as none.
    fn by_prefix(&self, prefix: &str) -> Option<&Arc<Image>> {
        let hex = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if hex.is_empty() || !is_lower_hex(hex) {
            return None;
        }
        let mut matching = self.images.iter().filter(|(id, _)| id.hex().starts_with(hex));
        let (_, first) = matching.next()?;
        matching.next().is_none().then_some(first)
    }

    /// The total size of an image's layers.
    pub(crate) fn size_bytes(&self, image: &Image) -> u64 {
        image
            .chain_ids()
            .iter()
            .filter_map(|layer| self.layers.get(layer))
            .map(|layer| layer.size_bytes)
            .sum()
    }
}

fn no_such_image(name: &str) -> Error {
    Error::not_found(format!("No such image: {name}"))
}
