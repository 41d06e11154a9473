//! The index: which images there are and what they are called, in one versioned JSON file.
//!
//! It is the only truth about existence: blobs and layers are written before it names them, and those that it does
//! not reach are removed when the store opens. So whatever happens half-way, there is no half image.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::durable;
use super::reference::Reference;
use crate::error::{Error, Result, io as io_error};

const VERSION: u32 = 1;

/// The file's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    pub(crate) images: BTreeMap<Digest, Record>,
    /// Canonical names with a tag or a digest.
    references: BTreeMap<String, Digest>,
}

/// What is known of an image beyond its config.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When it last got a tag here (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_tagged: Option<String>,
}

impl Default for Index {
    fn default() -> Self {
        Self { version: VERSION, images: BTreeMap::new(), references: BTreeMap::new() }
    }
}

impl Index {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io_error(format!("read {}", path.display()))(error)),
        };
        let index: Self = serde_json::from_slice(&bytes).map_err(|e| {
            Error::system(format!("image index {}: {e}", path.display())).with_source(e)
        })?;
        if index.version != VERSION {
            let message = format!(
                "image index {} has version {}, this engine reads {VERSION}",
                path.display(),
                index.version
            );
            return Err(Error::system(message));
        }
        Ok(index)
    }

    pub(crate) fn write(&self, scratch: &Path, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::system("encode image index").with_source(e))?;
        durable::write(scratch, path, &bytes).map_err(io_error("write image index"))
    }

    pub(crate) fn get(&self, reference: &Reference) -> Option<&Digest> {
        self.references.get(&reference.key())
    }

    /// Names an image; returns the image that had the name before.
    pub(crate) fn set(&mut self, reference: &Reference, image: &Digest) -> Option<Digest> {
        self.references.insert(reference.key(), image.clone())
    }

    pub(crate) fn unset(&mut self, reference: &Reference) -> Option<Digest> {
        self.references.remove(&reference.key())
    }

    /// The names of an image, in order.
    pub(crate) fn names(&self, image: &Digest) -> Vec<Reference> {
        let names = self.references.iter().filter(|(_, id)| *id == image);
        names.filter_map(|(key, _)| Reference::parse(key).ok()).collect()
    }

    /// Forgets an image and its names.
    pub(crate) fn forget(&mut self, image: &Digest) {
        self.images.remove(image);
        self.references.retain(|_, id| id != image);
    }
}
