//! `docker rmi` and `docker image prune`.
//!
//! Mirrors moby's image_delete: a name is untagged first, the image goes with its last name, a running container is a
//! conflict that no force overcomes, a stopped one and several names are conflicts that force does.

use bollard_stubs::models::{ImageDeleteResponseItem, ImagePruneResponse};

use super::config::Image;
use super::digest::Digest;
use super::filter::{Filters, boolean, check_keys};
use super::list::Selection;
use super::reference::Reference;
use super::store::{ImageStore, State};
use crate::error::{Error, Result};

const PRUNE_FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

/// A container that was made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    /// The container's ID.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
}

/// Answers which containers an image (by ID) has. It is called without any lock of the store.
pub type ImageUsers<'a> = &'a dyn Fn(&Digest) -> Vec<ImageUser>;

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// In spite of several names or stopped containers.
    pub force: bool,
    /// Keep unnamed parents. Images here have none, so it changes nothing.
    pub no_prune: bool,
}

/// A removal's records, in the order in which things happened.
type Records = Vec<ImageDeleteResponseItem>;

impl ImageStore {
    /// Removes a name, and the image with its last one.
    pub fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
        users: ImageUsers<'_>,
    ) -> Result<Records> {
        // Whoever answers has locks of its own, so it is asked while the store is not locked.
        let users = users(&self.resolve(name)?.id);
        let mut state = self.state();
        let image = state.resolve(name)?;
        let mut records = Records::new();
        if is_id_prefix(&image.id, name) {
            let names = state.index.names(&image.id);
            let allowed = Conflicts { names: !is_single(&names), soft: !options.force };
            refuse_conflict(&image, &names, &users, allowed)?;
            self.delete(&image, &mut state, &mut records)?;
            return Ok(records);
        }
        if self.untag(name, &image, options, &users, &mut state, &mut records)? {
            return Ok(records);
        }
        // The last name is gone; whoever still uses the image keeps it, without an error.
        if users.iter().any(|user| user.running) || (!options.force && !users.is_empty()) {
            return Ok(records);
        }
        self.delete(&image, &mut state, &mut records)?;
        Ok(records)
    }

    /// Removes images that no container uses: those without a name, or with `dangling=false` all of them.
    pub fn prune(&self, filters: &Filters, users: ImageUsers<'_>) -> Result<ImagePruneResponse> {
        check_keys(filters, &PRUNE_FILTERS)?;
        let only_dangling = boolean(filters, "dangling")?.unwrap_or(true);
        let selection = Selection::of(filters)?;
        let images: Vec<_> = self.state().images.values().cloned().collect();
        let mut records = Records::new();
        let mut reclaimed = 0;
        for image in images.into_iter().filter(|image| selection.admits(image)) {
            if !users(&image.id).is_empty() {
                continue;
            }
            let mut state = self.state();
            let dangling = state.index.names(&image.id).iter().all(|name| name.tag().is_none());
            if (dangling || !only_dangling) && state.images.contains_key(&image.id) {
                reclaimed += self.delete(&image, &mut state, &mut records)?;
            }
        }
        Ok(ImagePruneResponse {
            images_deleted: Some(records).filter(|records| !records.is_empty()),
            space_reclaimed: Some(i64::try_from(reclaimed).unwrap_or(i64::MAX)),
        })
    }

    /// Takes the name away; true if others remain.
    fn untag(
        &self,
        name: &str,
        image: &Image,
        options: RemoveOptions,
        users: &[ImageUser],
        state: &mut State,
        records: &mut Records,
    ) -> Result<bool> {
        if !options.force
            && is_single(&state.index.names(&image.id))
            && let Some(user) = users.first()
        {
            let container = short(&user.container);
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is using its referenced image {}",
                image.id.short()
            )));
        }
        let name = Reference::parse(name)?.or_latest();
        let mut gone = vec![name.clone()];
        let remaining = |gone: &[Reference]| -> Vec<Reference> {
            let names = state.index.names(&image.id).into_iter();
            names.filter(|other| gone.iter().all(|gone| gone.key() != other.key())).collect()
        };
        let same_repository = |other: &Reference| other.name_only() == name.name_only();
        let mut left = remaining(&gone);
        if name.digest().is_none()
            && !left.iter().any(|other| other.tag().is_some() && same_repository(other))
        {
            gone.extend(left.iter().filter(|other| same_repository(other)).cloned());
            left = remaining(&gone);
        }
        self.update(state, |index| gone.iter().for_each(|name| drop(index.unset(name))))?;
        records.extend(gone.iter().map(untagged));
        Ok(!left.is_empty())
    }

    /// Removes an image with its names, config and the layers that nothing else needs; returns the bytes that it held.
    fn delete(&self, image: &Image, state: &mut State, records: &mut Records) -> Result<u64> {
        let names = state.index.names(&image.id);
        self.update(state, |index| index.forget(&image.id))?;
        state.images.remove(&image.id);
        if let Err(error) = std::fs::remove_file(self.blob(&image.id)) {
            tracing::warn!(image.id = %image.id, %error, "image config stays until the next start");
        }
        records.extend(names.iter().map(untagged));
        records.push(deleted(&image.id));
        let layers = self.collect(state);
        records.extend(layers.iter().map(|(layer, _)| deleted(layer)));
        Ok(layers.iter().map(|(_, size)| size).sum())
    }
}

/// Which conflicts count.
struct Conflicts {
    names: bool,
    soft: bool,
}

fn refuse_conflict(
    image: &Image,
    names: &[Reference],
    users: &[ImageUser],
    count: Conflicts,
) -> Result<()> {
    let refuse = |force: &str, why: String| {
        let message = format!("conflict: unable to delete {} ({force}) - {why}", image.id.short());
        Err(Error::conflict(message))
    };
    if let Some(user) = users.iter().find(|user| user.running) {
        return refuse(
            "cannot be forced",
            format!("image is being used by running container {}", short(&user.container)),
        );
    }
    if count.soft && count.names && !names.is_empty() {
        return refuse("must be forced", "image is referenced in multiple repositories".to_owned());
    }
    match users.first() {
        Some(user) if count.soft => refuse(
            "must be forced",
            format!("image is being used by stopped container {}", short(&user.container)),
        ),
        _ => Ok(()),
    }
}

fn is_id_prefix(id: &Digest, text: &str) -> bool {
    id.as_str().starts_with(text) || id.hex().starts_with(text)
}

/// Whether all names are of one repository, with at most one tag.
fn is_single(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|name| name.tag().is_some()).count();
    let one_repository = names.windows(2).all(|pair| pair[0].name_only() == pair[1].name_only());
    !names.is_empty() && tags <= 1 && one_repository
}

fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}

fn untagged(name: &Reference) -> ImageDeleteResponseItem {
    ImageDeleteResponseItem { untagged: Some(name.familiar()), deleted: None }
}

fn deleted(id: &Digest) -> ImageDeleteResponseItem {
    ImageDeleteResponseItem { untagged: None, deleted: Some(id.to_string()) }
}
