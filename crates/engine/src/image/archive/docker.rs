//! `docker save` archives: `manifest.json` names configs, layers and tags.
//!
//! Newer ones are OCI layouts as well; this manifest is preferred there, as in Docker.

use serde::Deserialize;

use super::Found;
use super::spool::Spool;
use crate::error::{Error, Result};
use crate::image::reference::Reference;

pub(super) const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Reads the manifest's images.
pub(super) fn read(spool: &Spool) -> Result<Vec<Found>> {
    let items: Option<Vec<Item>> = spool.json(MANIFEST)?;
    let items = items.ok_or_else(|| {
        Error::invalid("invalid manifest, manifest cannot be null (but can be [])")
    })?;
    items.into_iter().map(|item| found(item, spool)).collect()
}

fn found(item: Item, spool: &Spool) -> Result<Found> {
    let names =
        item.repo_tags.unwrap_or_default().iter().map(|tag| tagged(tag)).collect::<Result<_>>()?;
    Ok(Found { config: spool.read(&item.config)?, layers: item.layers.unwrap_or_default(), names })
}

fn tagged(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)?;
    match reference.tag() {
        Some(_) => Ok(reference),
        None => Err(Error::invalid(format!("invalid tag \"{text}\""))),
    }
}
