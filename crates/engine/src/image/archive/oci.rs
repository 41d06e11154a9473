//! OCI archives: `index.json` names manifests by digest, blobs are at `blobs/sha256`.
//!
//! Names come from the annotations that containerd, buildkit and skopeo write. Of a multi-architecture index, the
//! image for this machine is taken.

use std::collections::HashMap;

use serde::Deserialize;

use super::Found;
use super::spool::Spool;
use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::reference::Reference;

const INDEX: &str = "index.json";
/// Indexes may nest; nobody nests them deeper than this.
const DEPTH_MAX: usize = 4;
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const ATTESTATION: &str = "vnd.docker.reference.type";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
    platform: Option<PlatformEntry>,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct PlatformEntry {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// Reads the index' images.
pub(super) fn read(spool: &Spool) -> Result<Vec<Found>> {
    if !spool.has(INDEX) {
        return Err(Error::invalid("invalid archive: does not contain a manifest.json"));
    }
    let index: Manifest = spool.json(INDEX)?;
    let mut all: Vec<Found> = Vec::new();
    for entry in index.manifests.unwrap_or_default() {
        let names = name(&entry).into_iter().collect();
        all.extend(resolve(&entry, names, spool, 0)?);
    }
    Ok(all)
}

fn resolve(
    entry: &Descriptor,
    names: Vec<Reference>,
    spool: &Spool,
    depth: usize,
) -> Result<Option<Found>> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid("invalid archive: indexes are nested too deeply"));
    }
    let bytes = verified(&entry.digest, spool)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| {
        Error::invalid(format!("invalid archive: manifest {}: {e}", entry.digest)).with_source(e)
    })?;
    if let Some(manifests) = manifest.manifests {
        // A multi-architecture archive may carry only some of the images that its index names.
        let present = manifests
            .iter()
            .filter(|entry| spool.has(&blob(&entry.digest)) && !is_attestation(entry));
        return match best(present) {
            Some(entry) => resolve(entry, names, spool, depth + 1),
            None => {
                Err(Error::invalid(format!("no image for {} in the archive", Platform::host())))
            }
        };
    }
    let (Some(config), Some(layers)) = (manifest.config, manifest.layers) else {
        return Err(Error::invalid(format!(
            "invalid archive: {} is not an image manifest",
            entry.digest
        )));
    };
    let config = verified(&config.digest, spool)?;
    Ok(Some(Found {
        config,
        layers: layers.iter().map(|layer| blob(&layer.digest)).collect(),
        names,
    }))
}

/// The entry that runs best here; entries that name no platform count as fitting.
fn best<'a>(entries: impl Iterator<Item = &'a Descriptor>) -> Option<&'a Descriptor> {
    let host = Platform::host();
    let fit = |entry: &Descriptor| match &entry.platform {
        None => Some(0),
        Some(entry) => host.accepts(&Platform {
            os: entry.os.clone(),
            architecture: entry.architecture.clone(),
            variant: entry.variant.clone(),
        }),
    };
    let fitting = entries.filter_map(|entry| Some((fit(entry)?, entry)));
    fitting.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, entry)| entry)
}

fn verified(digest: &Digest, spool: &Spool) -> Result<Vec<u8>> {
    let bytes = spool.read(&blob(digest))?;
    match Digest::of(&bytes) {
        got if got == *digest => Ok(bytes),
        got => Err(Error::invalid(format!("invalid archive: blob {digest} has digest {got}"))),
    }
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn name(entry: &Descriptor) -> Option<Reference> {
    let annotations = entry.annotations.as_ref()?;
    if let Some(full) = annotations.get(CONTAINERD_NAME) {
        return Reference::parse(full).ok().map(Reference::or_latest);
    }
    // By the specification this may be a bare tag, which names nothing on its own.
    let short = annotations.get(REF_NAME).filter(|name| name.contains([':', '/']))?;
    Reference::parse(short).ok().map(Reference::or_latest)
}

fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ATTESTATION))
}
