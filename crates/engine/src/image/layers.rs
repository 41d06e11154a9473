//! The store's layers: adding one, keeping those in use, removing the rest.
//!
//! A layer is a folder named by its chain ID, so two images share what they have in common. It is built in scratch and
//! renamed into place when it is whole and its digest right.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, HashingReader};
use super::durable::{self, ScratchFolder};
use super::layer;
use super::lease::Lease;
use super::store::{ImageStore, State};
use crate::error::{Error, Result, io};

const LAYER_VERSION: u32 = 1;

/// A layer's `layer.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    version: u32,
    pub(crate) diff_id: Digest,
    pub(crate) parent: Option<Digest>,
    pub(crate) size_bytes: u64,
}

impl ImageStore {
    /// Unpacks an uncompressed layer on top of `parent`, unless it is here; `expected` is what its digest must be.
    pub(crate) fn add_layer(
        &self,
        parent: Option<&Digest>,
        expected: Option<&Digest>,
        tar: impl Read,
        lease: &mut Lease,
    ) -> Result<Digest> {
        let scratch = ScratchFolder::new(&self.scratch()).map_err(io("create layer folder"))?;
        let diff = scratch.path().join("diff");
        fs::create_dir(&diff).map_err(io("create layer folder"))?;
        // What the archive does not mention gets a root's usual mode, whatever the daemon's umask is.
        fs::set_permissions(&diff, fs::Permissions::from_mode(0o755))
            .map_err(io("create layer folder"))?;
        let mut reader = HashingReader::new(tar);
        let unpacked = layer::unpack(&mut reader, &diff).map_err(layer_error)?;
        let (diff_id, _) = reader.finish().map_err(layer_error)?;
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(Error::invalid(format!(
                "invalid layer digest: expected \"{expected}\", got \"{diff_id}\""
            )));
        }
        let chain = Digest::chain(parent, &diff_id);
        lease.hold(&chain);
        let record = LayerRecord {
            version: LAYER_VERSION,
            diff_id,
            parent: parent.cloned(),
            size_bytes: unpacked.size_bytes,
        };
        let json = serde_json::to_vec(&record)
            .map_err(|e| Error::system("encode layer record").with_source(e))?;
        fs::write(scratch.path().join("layer.json"), json).map_err(io("write layer record"))?;
        durable::publish_folder(scratch.path(), &self.layer_folder(&chain))
            .map_err(io("store layer"))?;
        self.state().layers.insert(chain.clone(), record);
        Ok(chain)
    }

    /// Holds the layer if the store has it, and says whether it does.
    pub(crate) fn hold_layer(&self, chain: &Digest, lease: &mut Lease) -> bool {
        lease.hold(chain);
        self.state().layers.contains_key(chain)
    }

    /// Removes layers that no image and no lease needs; returns them with their sizes, topmost first.
    pub(crate) fn collect(&self, state: &mut State) -> Vec<(Digest, u64)> {
        let mut unused = state.layers.clone();
        let mut keep: Vec<Digest> = state.leases.keys().cloned().collect();
        keep.extend(state.images.values().flat_map(|image| image.chain_ids()));
        for layer in keep {
            let mut layer = Some(layer);
            while let Some(record) = layer.and_then(|layer| unused.remove(&layer)) {
                layer = record.parent;
            }
        }
        let mut removed: Vec<(Digest, u64)> = Vec::new();
        while let Some(layer) = top_of(&unused) {
            let record = unused.remove(&layer);
            state.layers.remove(&layer);
            if let Err(error) = durable::remove_folder(&self.scratch(), &self.layer_folder(&layer))
            {
                tracing::warn!(%layer, %error, "layer not removed");
            }
            removed.push((layer, record.map_or(0, |record| record.size_bytes)));
        }
        removed
    }
}

fn layer_error(error: std::io::Error) -> Error {
    let message = format!("failed to register layer: {error}");
    let worded = if durable::is_machines_fault(&error) {
        Error::system(message)
    } else {
        Error::invalid(message)
    };
    worded.with_source(error)
}

/// A layer on which none of the others stands.
fn top_of(layers: &BTreeMap<Digest, LayerRecord>) -> Option<Digest> {
    let is_parent = |id: &Digest| layers.values().any(|other| other.parent.as_ref() == Some(id));
    layers.keys().find(|id| !is_parent(id)).cloned()
}

/// Reads a stored layer's record.
pub(super) fn read_layer(folder: &Path) -> Result<LayerRecord> {
    let bytes = fs::read(folder.join("layer.json")).map_err(io("read layer record"))?;
    let record: LayerRecord = serde_json::from_slice(&bytes)
        .map_err(|e| Error::system(format!("layer record: {e}")).with_source(e))?;
    if record.version != LAYER_VERSION {
        return Err(Error::system(format!("layer record has version {}", record.version)));
    }
    Ok(record)
}
