//! `docker system df`: what images take on disk, and how much of it they share.

use std::collections::HashMap;

use bollard_stubs::models::{ImageSummary, ImagesDiskUsage};

use super::digest::Digest;
use super::list::ListOptions;
use super::remove::ImageUsers;
use super::store::ImageStore;
use crate::error::{Error, Result};

/// The images' share of the disk.
#[derive(Debug, Clone, Default)]
pub struct ImageUsage {
    /// Every image with its shared size and number of containers.
    pub images: Vec<ImageSummary>,
    /// All layers, each once.
    pub layers_size_bytes: u64,
}

impl ImageStore {
    /// What images take on disk.
    pub fn disk_usage(&self, users: ImageUsers<'_>) -> Result<ImageUsage> {
        let mut images = self.list(&ListOptions { all: true, ..ListOptions::default() })?;
        for summary in &mut images {
            let users = users(&Digest::parse(&summary.id)?);
            summary.containers = i64::try_from(users.len()).unwrap_or(i64::MAX);
        }
        let state = self.state();
        let mut sharers: HashMap<Digest, u32> = HashMap::new();
        for image in state.images.values() {
            image.chain_ids().into_iter().for_each(|layer| *sharers.entry(layer).or_default() += 1);
        }
        for summary in &mut images {
            let Some(image) = Digest::parse(&summary.id).ok().and_then(|id| state.images.get(&id))
            else {
                continue;
            };
            let chain = image.chain_ids();
            let shared =
                chain.iter().filter(|layer| sharers.get(layer).is_some_and(|count| *count > 1));
            let shared: u64 = shared
                .filter_map(|layer| state.layers.get(layer))
                .map(|layer| layer.size_bytes)
                .sum();
            summary.shared_size = i64::try_from(shared).unwrap_or(i64::MAX);
        }
        let layers_size_bytes = state.layers.values().map(|layer| layer.size_bytes).sum();
        Ok(ImageUsage { images, layers_size_bytes })
    }
}

impl ImageUsage {
    /// The same in the shape of API 1.52.
    pub fn summary(&self) -> Result<ImagesDiskUsage> {
        let number = |value: usize| Some(i64::try_from(value).unwrap_or(i64::MAX));
        let in_use = self.images.iter().filter(|image| image.containers > 0);
        let unused = self.images.iter().filter(|image| image.containers == 0);
        let items = self
            .images
            .iter()
            .map(serde_json::to_value)
            .collect::<std::result::Result<Vec<_>, _>>();
        Ok(ImagesDiskUsage {
            active_count: number(in_use.count()),
            total_count: number(self.images.len()),
            reclaimable: Some(unused.map(|image| image.size - image.shared_size.max(0)).sum()),
            total_size: Some(i64::try_from(self.layers_size_bytes).unwrap_or(i64::MAX)),
            items: Some(items.map_err(|e| Error::system("encode image summary").with_source(e))?),
        })
    }
}
