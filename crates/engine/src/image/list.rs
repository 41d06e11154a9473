//! `docker images`: summaries, filtered.

use bollard_stubs::models::ImageSummary;

use super::config::Image;
use super::filter::{Filters, boolean, check_keys, glob, has_label, until, values};
use super::reference::Reference;
use super::store::{ImageStore, State};
use crate::error::Result;
use crate::timestamp;

const FILTERS: [&str; 6] = ["dangling", "reference", "label", "before", "since", "until"];

/// What a listing selects and shows.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Intermediate images too; there are none here, as nothing builds.
    pub all: bool,
    /// Which images.
    pub filters: Filters,
}

impl ImageStore {
    /// Lists images, newest first.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<ImageSummary>> {
        let state = self.state();
        let selection = Selection::new(&options.filters, &state)?;
        let mut listed: Vec<ImageSummary> =
            state.images.values().filter_map(|image| selection.summary(image, &state)).collect();
        listed.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(listed)
    }
}

/// Parsed filters.
pub(super) struct Selection<'a> {
    dangling: Option<bool>,
    references: &'a [String],
    labels: &'a [String],
    labels_not: &'a [String],
    before: Option<u64>,
    since: Option<u64>,
}

impl<'a> Selection<'a> {
    fn new(filters: &'a Filters, state: &State) -> Result<Self> {
        check_keys(filters, &FILTERS)?;
        let mut selection = Self::of(filters)?;
        for name in values(filters, "before") {
            selection.narrow_before(created(&*state.resolve(name)?));
        }
        selection.since = values(filters, "since")
            .iter()
            .map(|name| Ok(created(&*state.resolve(name)?)))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .max();
        Ok(selection)
    }

    /// The filters that need no other image.
    pub(super) fn of(filters: &'a Filters) -> Result<Self> {
        let mut selection = Self {
            dangling: boolean(filters, "dangling")?,
            references: values(filters, "reference"),
            labels: values(filters, "label"),
            labels_not: values(filters, "label!"),
            before: None,
            since: None,
        };
        for text in values(filters, "until") {
            selection.narrow_before(until(text)?);
        }
        Ok(selection)
    }

    fn narrow_before(&mut self, limit: u64) {
        self.before = Some(self.before.map_or(limit, |before| before.min(limit)));
    }

    /// Whether age and labels fit.
    pub(super) fn admits(&self, image: &Image) -> bool {
        let made = created(image);
        let labels = image.config().labels.unwrap_or_default();
        self.before.is_none_or(|before| made < before)
            && self.since.is_none_or(|since| made > since)
            && self.labels.iter().all(|label| has_label(&labels, label))
            && !self.labels_not.iter().any(|label| has_label(&labels, label))
    }

    fn summary(&self, image: &Image, state: &State) -> Option<ImageSummary> {
        if !self.admits(image) {
            return None;
        }
        let names = state.index.names(&image.id);
        let dangling = names.iter().all(|name| name.tag().is_none());
        if self.dangling.is_some_and(|wanted| wanted != dangling) {
            return None;
        }
        let shown: Vec<&Reference> = names.iter().filter(|name| self.names(name)).collect();
        if !self.references.is_empty() && shown.is_empty() {
            return None;
        }
        Some(summary(image, &shown, state))
    }

    fn names(&self, name: &Reference) -> bool {
        let forms = [
            name.familiar(),
            name.familiar_name(),
            name.clone().or_latest().to_string(),
            name.name_only().to_string(),
        ];
        self.references.is_empty()
            || self
                .references
                .iter()
                .any(|pattern| forms.iter().any(|form| glob(pattern.as_bytes(), form.as_bytes())))
    }
}

fn summary(image: &Image, names: &[&Reference], state: &State) -> ImageSummary {
    ImageSummary {
        id: image.id.to_string(),
        repo_tags: names
            .iter()
            .filter(|name| name.tag().is_some())
            .map(|name| name.familiar())
            .collect(),
        repo_digests: names
            .iter()
            .filter(|name| name.digest().is_some())
            .map(|name| name.familiar())
            .collect(),
        created: i64::try_from(created(image) / 1_000_000_000).unwrap_or(0),
        size: i64::try_from(state.size_bytes(image)).unwrap_or(i64::MAX),
        shared_size: -1,
        labels: image.config().labels.unwrap_or_default(),
        containers: -1,
        ..ImageSummary::default()
    }
}

/// When the image was made, in nanoseconds since the epoch; 0 if it does not say.
pub(super) fn created(image: &Image) -> u64 {
    image.file.created.as_deref().and_then(timestamp::parse).unwrap_or(0)
}
