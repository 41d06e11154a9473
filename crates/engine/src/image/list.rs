//! `docker images`: summaries, filtered.

use std::collections::HashMap;

use bollard_stubs::models::ImageSummary;

use super::config::Image;
use super::reference::Reference;
use super::store::{ImageStore, State};
use crate::error::{Error, Result};
use crate::timestamp;

/// Filters as the API has them: values by key.
pub type Filters = HashMap<String, Vec<String>>;

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
        let forms =
            [name.familiar(), name.familiar_name(), name.clone().or_latest().to_string(), name.name_only().to_string()];
        self.references.is_empty()
            || self.references.iter().any(|pattern| forms.iter().any(|form| glob(pattern.as_bytes(), form.as_bytes())))
    }
}

fn summary(image: &Image, names: &[&Reference], state: &State) -> ImageSummary {
    ImageSummary {
        id: image.id.to_string(),
        repo_tags: names.iter().filter(|name| name.tag().is_some()).map(|name| name.familiar()).collect(),
        repo_digests: names.iter().filter(|name| name.digest().is_some()).map(|name| name.familiar()).collect(),
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

/// Refuses filters that the call does not know, in Docker's words.
pub(crate) fn check_keys(filters: &Filters, known: &[&str]) -> Result<()> {
    match filters.keys().filter(|key| !known.contains(&key.as_str())).min() {
        Some(key) => Err(Error::invalid(format!("invalid filter '{key}'"))),
        None => Ok(()),
    }
}

pub(crate) fn values<'a>(filters: &'a Filters, key: &str) -> &'a [String] {
    filters.get(key).map_or(&[], Vec::as_slice)
}

pub(crate) fn boolean(filters: &Filters, key: &str) -> Result<Option<bool>> {
    let parsed = values(filters, key).iter().map(|value| match value.as_str() {
        "1" | "t" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "false" | "False" | "FALSE" => Ok(false),
        other => Err(Error::invalid(format!("invalid filter '{key}={other}'"))),
    });
    let parsed = parsed.collect::<Result<Vec<bool>>>()?;
    match (parsed.contains(&true), parsed.contains(&false)) {
        (true, true) => Err(Error::invalid(format!("invalid filter '{key}'"))),
        (false, false) => Ok(None),
        (only_true, _) => Ok(Some(only_true)),
    }
}

/// `key` or `key=value`.
pub(crate) fn has_label(labels: &HashMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|got| got == value),
        None => labels.contains_key(wanted),
    }
}

/// A moment: RFC 3339, seconds since the epoch, or how long ago as a Go duration (`10m`, `1h30m`).
pub(crate) fn until(text: &str) -> Result<u64> {
    const SECOND: u64 = 1_000_000_000;
    let parsed = timestamp::parse(text)
        .or_else(|| text.parse::<u64>().ok()?.checked_mul(SECOND))
        .or_else(|| timestamp::now_nanos().checked_sub(ago(text)?));
    parsed.ok_or_else(|| Error::invalid(format!("invalid value for 'until' filter: \"{text}\" is not a time")))
}

fn ago(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let unit = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Go's `path.Match`: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are classes, a backslash quotes.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), _) => {
            let reach = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
            (0..=reach).any(|skip| glob(rest, &text[skip..]))
        }
        (Some(_), None) => false,
        (Some((b'?', rest)), Some((c, after))) => *c != b'/' && glob(rest, after),
        (Some((b'[', rest)), Some((c, after))) => {
            class(rest, *c).is_some_and(|(hit, rest)| hit && glob(rest, after))
        }
        (Some((b'\\', rest)), Some((c, after))) => rest.first() == Some(c) && glob(&rest[1..], after),
        (Some((p, rest)), Some((c, after))) => p == c && glob(rest, after),
    }
}

/// Whether the class at the start of `pattern` has `c`, and what follows it; `None` if it never ends.
fn class(pattern: &[u8], c: u8) -> Option<(bool, &[u8])> {
    let negated = pattern.first() == Some(&b'^');
    let mut rest = if negated { &pattern[1..] } else { pattern };
    let mut hit = false;
    loop {
        match rest {
            [b']', after @ ..] => return Some((hit != negated, after)),
            [low, b'-', high, after @ ..] if *high != b']' => {
                hit |= (*low..=*high).contains(&c);
                rest = after;
            }
            [one, after @ ..] => {
                hit |= *one == c;
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expect) in [
            ("alpine", "alpine", true),
            ("alp*", "alpine:3", true),
            ("*", "user/app", false),
            ("*/*", "user/app", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a", "a", false),
            (r"a\*", "a*", true),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        }
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(ago("1h30m"), Some(5_400_000_000_000));
        assert_eq!(ago("10"), None);
        assert_eq!(ago(""), None);
        assert!(until("yesterday").is_err());
    }
}
