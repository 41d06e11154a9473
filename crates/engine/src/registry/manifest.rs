//! Manifests: what a registry says an image consists of, and which entry of an index fits this machine.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::image::{Digest, Platform};

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What we can read.
pub(super) const ACCEPTED: [&str; 4] = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX];

/// A manifest or an index, whichever came.
#[derive(Debug)]
pub(super) enum Manifest {
    /// One image.
    Image(ImageManifest),
    /// One image per platform.
    Index(Vec<Descriptor>),
}

/// One image's parts.
#[derive(Debug)]
pub(super) struct ImageManifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// A reference to content.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) digest: Digest,
    #[serde(default)]
    pub(super) size: u64,
    pub(super) platform: Option<PlatformEntry>,
}

/// The platform of an index' entry.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PlatformEntry {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    pub(super) variant: Option<String>,
    #[serde(rename = "os.version")]
    pub(super) os_version: Option<String>,
    #[serde(rename = "os.features")]
    pub(super) os_features: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// Reads a manifest's bytes; returns its media type with it.
pub(super) fn parse(bytes: &[u8]) -> Result<(String, Manifest)> {
    let wire: Wire = serde_json::from_slice(bytes)
        .map_err(|e| Error::system(format!("invalid manifest: {e}")).with_source(e))?;
    if wire.schema_version != 2 {
        return Err(Error::invalid(
            "support for Docker Image manifest version 2, schema 1 was removed; the image must be built anew",
        ));
    }
    let default = if wire.manifests.is_some() { OCI_INDEX } else { OCI_MANIFEST };
    let media_type = wire.media_type.unwrap_or_else(|| default.to_owned());
    if !ACCEPTED.contains(&media_type.as_str()) {
        return Err(Error::invalid(format!("unsupported media type {media_type}")));
    }
    let manifest = match (wire.manifests, wire.config, wire.layers) {
        (Some(manifests), None, _) => Manifest::Index(manifests),
        (None, Some(config), layers) => {
            Manifest::Image(ImageManifest { config, layers: layers.unwrap_or_default() })
        }
        _ => return Err(Error::system("invalid manifest: it is neither an image's nor an index")),
    };
    Ok((media_type, manifest))
}

/// The entry that runs best on `platform`.
pub(super) fn choose<'a>(entries: &'a [Descriptor], platform: &Platform) -> Result<&'a Descriptor> {
    let fit = |entry: &Descriptor| {
        entry.platform.as_ref().and_then(|offered| platform.accepts(&offered.platform()))
    };
    let fitting = entries.iter().filter_map(|entry| Some((fit(entry)?, entry)));
    // Of equals the first, as an index lists what its author prefers first.
    let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, entry)| entry).ok_or_else(|| {
        Error::not_found(format!(
            "no matching manifest for {platform} in the manifest list entries"
        ))
    })
}

impl PlatformEntry {
    pub(super) fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(byte: u8, platform: &str) -> Descriptor {
        let mut parts = platform.split('/').map(str::to_owned);
        let platform = PlatformEntry {
            os: parts.next().unwrap_or_default(),
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next(),
            os_version: None,
            os_features: None,
        };
        Descriptor { digest: Digest::of(&[byte]), size: 0, platform: Some(platform) }
    }

    #[test]
    fn the_best_entry_is_chosen() {
        let entries = [
            entry(0, "linux/arm/v6"),
            entry(1, "linux/arm/v7"),
            entry(2, "linux/amd64"),
            entry(3, "windows/amd64"),
            entry(4, "unknown/unknown"),
        ];
        for (platform, expect) in [
            ("linux/amd64", Some(2)),
            ("linux/arm/v7", Some(1)),
            ("linux/arm/v6", Some(0)),
            ("linux/s390x", None),
        ] {
            let chosen = choose(&entries, &Platform::parse(platform).expect("valid"));
            assert_eq!(
                chosen.map(|d| d.digest.clone()).ok(),
                expect.map(|byte| Digest::of(&[byte])),
                "{platform}"
            );
        }
        let none =
            choose(&entries, &Platform::parse("linux/s390x").expect("valid")).expect_err("none");
        assert_eq!(
            none.to_string(),
            "no matching manifest for linux/s390x in the manifest list entries"
        );
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"mediaType":"x","layers":[]}"#,
            r#"{"schemaVersion":2,"config":{"digest":"sha256:../../etc"},"layers":[]}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
