//! `/distribution/…/json`: what a registry has under a name, without pulling it. Services pin their images with it.

use bollard_stubs::models::{DistributionInspect, OciDescriptor, OciPlatform};
use oci_client::secrets::RegistryAuth;

use super::RegistryClient;
use super::manifest::{Manifest, PlatformEntry};
use super::session::open;
use crate::error::Result;
use crate::image::Reference;
use crate::image::config::Image;

impl RegistryClient {
    /// The digest, size and platforms of an image in its registry.
    pub async fn distribution_inspect(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<DistributionInspect> {
        let reference = reference.clone().or_latest();
        let (session, fetched) = open(&self.config, &reference, auth).await?;
        let platforms = match &fetched.manifest {
            Manifest::Index(entries) => {
                entries.iter().filter_map(|e| e.platform.as_ref()).map(platform).collect()
            }
            Manifest::Image(manifest) => {
                let image = Image::parse(&session.config(&manifest.config).await?)?;
                let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
                vec![OciPlatform {
                    architecture: text(&image.file.architecture),
                    os: text(&image.file.os),
                    variant: text(&image.file.variant),
                    ..OciPlatform::default()
                }]
            }
        };
        let descriptor = OciDescriptor {
            media_type: Some(fetched.media_type),
            digest: Some(fetched.digest.to_string()),
            size: Some(i64::try_from(fetched.size).unwrap_or(i64::MAX)),
            ..OciDescriptor::default()
        };
        Ok(DistributionInspect { descriptor, platforms })
    }
}

fn platform(entry: &PlatformEntry) -> OciPlatform {
    OciPlatform {
        architecture: Some(entry.architecture.clone()),
        os: Some(entry.os.clone()),
        os_version: entry.os_version.clone(),
        os_features: entry.os_features.clone(),
        variant: entry.variant.clone(),
    }
}
