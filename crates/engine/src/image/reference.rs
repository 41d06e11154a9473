//! Image references: what `docker pull` takes, and its canonical and familiar forms.
//!
//! Mirrors the grammar and the messages of distribution/reference.

use std::fmt;

use super::digest::Digest;
use super::grammar::{is_domain, is_identifier, is_path_component, is_tag, looks_like_digest};
use crate::error::{Error, Result};

/// The registry that a name without one means.
pub const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
/// The tag that a name without one means.
pub const DEFAULT_TAG: &str = "latest";
const PATH_LEN_MAX: usize = 255;

/// A normalized image name with an optional tag and digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What a user may mean by an image: a name, or an image ID in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyReference {
    /// A name.
    Named(Reference),
    /// A whole image ID.
    Id(Digest),
}

impl AnyReference {
    /// Parses an ID with or without its algorithm, or else a name.
    pub fn parse(text: &str) -> Result<Self> {
        if is_identifier(text) {
            return Ok(Self::Id(Digest::parse(&format!("sha256:{text}"))?));
        }
        if let Ok(digest) = Digest::parse(text) {
            return Ok(Self::Id(digest));
        }
        Reference::parse(text).map(Self::Named)
    }
}

impl Reference {
    /// Parses and normalizes a name: `alpine` becomes `docker.io/library/alpine`, without a tag.
    pub fn parse(text: &str) -> Result<Self> {
        if is_identifier(text) {
            return Err(Error::invalid(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return Err(Error::invalid(format!(
                "invalid reference format: repository name ({remote}) must be lowercase"
            )));
        }
        parse_parts(domain, &remainder)
    }

    /// The same, with `latest` where neither tag nor digest was named.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The registry's host, with its port if one was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository inside of the registry (`library/alpine`).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was named.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Only the name, with nothing that selects a version of it.
    pub fn name_only(&self) -> Self {
        Self { domain: self.domain.clone(), path: self.path.clone(), tag: None, digest: None }
    }

    /// The name with `tag` and no digest; the tag is checked.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        if !is_tag(tag) {
            return Err(Error::invalid("invalid tag format"));
        }
        Ok(Self { tag: Some(tag.to_owned()), ..self.name_only() })
    }

    /// The name with `digest` and no tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.name_only() }
    }

    /// The name as people write it: without the default registry and `library/`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as people write it.
    pub fn familiar(&self) -> String {
        self.with_version(self.familiar_name())
    }

    /// How the store files it: by digest when one is named (the tag may have moved since), else by tag.
    pub(crate) fn key(&self) -> String {
        match &self.digest {
            Some(digest) => self.with_digest(digest.clone()).to_string(),
            None => self.clone().or_latest().to_string(),
        }
    }

    fn with_version(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

impl fmt::Display for Reference {
    /// The canonical form, registry included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_version(format!("{}/{}", self.domain, self.path)))
    }
}

/// Splits off the registry: the first part counts as one if it has a dot, a port, upper case, or is `localhost`.
fn split_domain(text: &str) -> (&str, String) {
    let split = text.split_once('/').filter(|(first, _)| {
        first.contains(['.', ':']) || *first == "localhost" || first.chars().any(char::is_uppercase)
    });
    let (domain, remainder) = match split {
        Some((LEGACY_DOMAIN, remainder)) => (DEFAULT_DOMAIN, remainder),
        Some(split) => split,
        None => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain, format!("{OFFICIAL_PREFIX}{remainder}"));
    }
    (domain, remainder.to_owned())
}

fn parse_parts(domain: &str, remainder: &str) -> Result<Reference> {
    let (name, digest) = match remainder.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (remainder, None),
    };
    let (path, tag) = match name.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (name, None),
    };
    let well_formed = is_domain(domain)
        && path.split('/').all(is_path_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(looks_like_digest);
    if !well_formed {
        return Err(Error::invalid("invalid reference format"));
    }
    if path.len() > PATH_LEN_MAX {
        return Err(Error::invalid(format!(
            "repository name must not be more than {PATH_LEN_MAX} characters"
        )));
    }
    Ok(Reference {
        domain: domain.to_owned(),
        path: path.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(Digest::parse).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: std::result::Result<(&str, &str), &str>) {
        let got = Reference::parse(text)
            .map(|r| (r.to_string(), r.familiar()))
            .map_err(|e| e.to_string());
        let expect = expect.map(|(c, f)| (c.to_owned(), f.to_owned())).map_err(str::to_owned);
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn names_are_normalized() {
        let hex = "a".repeat(64);
        for (text, canonical, familiar) in [
            ("alpine", "docker.io/library/alpine", "alpine"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("library/alpine", "docker.io/library/alpine", "alpine"),
            ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
            ("index.docker.io/alpine", "docker.io/library/alpine", "alpine"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("user/app", "docker.io/user/app", "user/app"),
            ("localhost/app", "localhost/app", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
            ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
            ("FOO/app", "FOO/app", "FOO/app"),
            ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f", "a__b/c--d.e_f"),
            (
                &format!("alpine@sha256:{hex}"),
                &format!("docker.io/library/alpine@sha256:{hex}"),
                &format!("alpine@sha256:{hex}"),
            ),
            (
                &format!("a:b@sha256:{hex}"),
                &format!("docker.io/library/a:b@sha256:{hex}"),
                &format!("a:b@sha256:{hex}"),
            ),
        ] {
            check(text, Ok((canonical, familiar)));
        }
    }

    #[test]
    fn malformed_names_are_refused_in_dockers_words() {
        let format = "invalid reference format";
        let hex = "a".repeat(64);
        for text in [
            "",
            ":tag",
            "alpine:",
            "alpine:-x",
            "a//b",
            "/alpine",
            "alpine/",
            "-alpine",
            "a___b",
            "a..b",
            "a@b",
            "alpine@sha256:ab",
            "alpine:a b",
            "foo bar",
            "a.b:port/x",
            "-x.com/a",
            "alpine:b:c",
        ] {
            check(text, Err(format));
        }
        check(
            "Alpine",
            Err("invalid reference format: repository name (library/Alpine) must be lowercase"),
        );
        check(
            "localhost:5000/App:v1",
            Err("invalid reference format: repository name (App) must be lowercase"),
        );
        check(
            &hex,
            Err(&format!(
                "invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings"
            )),
        );
        check(&format!("a@sha256:{}", "a".repeat(40)), Err("invalid checksum digest length"));
        check(&format!("a@sha512:{}", "a".repeat(128)), Err("unsupported digest algorithm"));
        check(
            &format!("a/{}", "b".repeat(300)),
            Err("repository name must not be more than 255 characters"),
        );
        check(&format!("a:{}", "b".repeat(129)), Err(format));
    }

    #[test]
    fn the_store_files_by_digest_before_tag() {
        let digest = Digest::of(b"x");
        let both = Reference::parse(&format!("app:v1@{digest}")).expect("valid");
        assert_eq!(both.key(), format!("docker.io/library/app@{digest}"));
        assert_eq!(Reference::parse("app").expect("valid").key(), "docker.io/library/app:latest");
    }
}
