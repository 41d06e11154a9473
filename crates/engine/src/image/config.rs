//! The image config: what an image says about itself.
//!
//! Mirrors the OCI image spec's config.json with Docker's additions (Healthcheck, OnBuild, Shell); fields beyond those
//! stay in the stored blob, whose bytes are never rewritten, since their digest is the image's ID.

use bollard_stubs::models::ImageConfig;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::platform::Platform;
use crate::error::{Error, Result};

/// An image: its ID and its parsed config.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the config.
    pub id: Digest,
    /// The config itself.
    pub file: ConfigFile,
}

/// The fields of config.json that the engine reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConfigFile {
    /// The CPU architecture, in Go's names.
    #[serde(default)]
    pub architecture: String,
    /// The CPU variant (`v7`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// When the image was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The commit message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// What a container of it runs by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ImageConfig>,
    /// The layers.
    pub rootfs: RootFs,
    /// How it was built, step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<History>>,
}

/// The layers of an image by the digests of their uncompressed archives, lowest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's build.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// When it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The author.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// The message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl Image {
    /// Parses a config; its digest becomes the ID.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file: ConfigFile = serde_json::from_slice(bytes)
            .map_err(|e| Error::invalid(format!("invalid image config: {e}")).with_source(e))?;
        if file.rootfs.kind != "layers" {
            return Err(Error::invalid("invalid image JSON, no RootFS key"));
        }
        Ok(Self { id: Digest::of(bytes), file })
    }

    /// What a container of it runs by default; empty for an image that says nothing.
    pub fn config(&self) -> ImageConfig {
        self.file.config.clone().unwrap_or_default()
    }

    /// What it was built for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.file.os.clone(),
            architecture: self.file.architecture.clone(),
            variant: Some(self.file.variant.clone()).filter(|variant| !variant.is_empty()),
        }
        .normalized()
    }

    /// The chain IDs of its layers, lowest first.
    pub fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(&self.file.rootfs.diff_ids)
    }
}

/// The chain IDs of a stack of layers, lowest first.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(Digest::chain(chain.last(), diff_id));
    }
    chain
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<Digest>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
