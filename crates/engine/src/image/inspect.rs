//! `docker image inspect` and `docker history`.

use std::collections::HashMap;

use bollard_stubs::models::{
    DriverData, ImageHistoryResponseItem, ImageInspect, ImageInspectMetadata, ImageInspectRootFs,
};

use super::config::Image;
use super::store::{ImageStore, State};
use crate::error::Result;
use crate::timestamp;

impl ImageStore {
    /// All that is known of an image.
    pub fn inspect(&self, name: &str) -> Result<ImageInspect> {
        let state = self.state();
        let image = state.resolve(name)?;
        let names = state.index.names(&image.id);
        let tagged =
            state.index.images.get(&image.id).and_then(|record| record.last_tagged.clone());
        Ok(ImageInspect {
            id: Some(image.id.to_string()),
            repo_tags: Some(
                names.iter().filter(|n| n.tag().is_some()).map(|n| n.familiar()).collect(),
            ),
            repo_digests: Some(
                names.iter().filter(|n| n.digest().is_some()).map(|n| n.familiar()).collect(),
            ),
            comment: Some(image.file.comment.clone()),
            created: image.file.created.clone(),
            author: Some(image.file.author.clone()),
            config: Some(image.config()),
            architecture: Some(image.file.architecture.clone()),
            variant: Some(image.file.variant.clone()).filter(|variant| !variant.is_empty()),
            os: Some(image.platform().os),
            size: Some(i64::try_from(state.size_bytes(&image)).unwrap_or(i64::MAX)),
            graph_driver: Some(self.graph_driver(&image)),
            root_fs: Some(root_fs(&image)),
            metadata: Some(ImageInspectMetadata {
                last_tag_time: Some(tagged.unwrap_or_else(|| timestamp::ZERO.to_owned())),
            }),
            ..ImageInspect::default()
        })
    }

    /// The steps that made an image, newest first.
    pub fn history(&self, name: &str) -> Result<Vec<ImageHistoryResponseItem>> {
        let state = self.state();
        let image = state.resolve(name)?;
        let sizes = layer_sizes(&image, &state);
        let mut sizes = sizes.iter();
        let history = image.file.history.clone().unwrap_or_default();
        let mut steps: Vec<ImageHistoryResponseItem> = history
            .iter()
            .map(|step| {
                let size = if step.empty_layer { 0 } else { sizes.next().copied().unwrap_or(0) };
                let created =
                    step.created.as_deref().and_then(timestamp::parse).unwrap_or(0) / 1_000_000_000;
                ImageHistoryResponseItem {
                    id: "<missing>".to_owned(),
                    created: i64::try_from(created).unwrap_or(0),
                    created_by: step.created_by.clone(),
                    tags: Vec::new(),
                    size: i64::try_from(size).unwrap_or(i64::MAX),
                    comment: step.comment.clone(),
                }
            })
            .collect();
        steps.reverse();
        if let Some(newest) = steps.first_mut() {
            newest.id = image.id.to_string();
            let names = state.index.names(&image.id);
            newest.tags = names
                .iter()
                .filter(|name| name.tag().is_some())
                .map(|name| name.familiar())
                .collect();
        }
        Ok(steps)
    }

    fn graph_driver(&self, image: &Image) -> DriverData {
        let mut folders = image.chain_ids().into_iter().rev();
        let mut path = || {
            folders.next().map(|layer| self.layer_folder(&layer).join("diff").display().to_string())
        };
        let mut data = HashMap::new();
        if let Some(upper) = path() {
            data.insert("UpperDir".to_owned(), upper);
        }
        let lower: Vec<String> = std::iter::from_fn(path).collect();
        if !lower.is_empty() {
            data.insert("LowerDir".to_owned(), lower.join(":"));
        }
        DriverData { name: "overlay2".to_owned(), data }
    }
}

fn layer_sizes(image: &Image, state: &State) -> Vec<u64> {
    let chain = image.chain_ids();
    chain.iter().map(|layer| state.layers.get(layer).map_or(0, |layer| layer.size_bytes)).collect()
}

fn root_fs(image: &Image) -> ImageInspectRootFs {
    let layers: Vec<String> = image.file.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    ImageInspectRootFs {
        typ: "layers".to_owned(),
        layers: Some(layers).filter(|layers| !layers.is_empty()),
    }
}
