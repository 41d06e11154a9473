//! Platforms: which entry of a multi-architecture index this machine wants.
//!
//! Mirrors containerd's `platforms`: names are Go's, aliases are normalized, arm variants run older ones.

use std::fmt;

use crate::error::{Error, Result};

/// Operating system, architecture and CPU variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// Go's name: `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// `v6`, `v7`, `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
            .normalized()
    }

    /// Parses `os[/arch[/variant]]` or a bare architecture; what is left out is this machine's.
    pub fn parse(text: &str) -> Result<Self> {
        let host = Self::host();
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if !parts.iter().all(valid) || parts.len() > 3 {
            return Err(Error::invalid(format!(
                "\"{text}\" is an invalid OS/architecture specifier: invalid argument"
            )));
        }
        let (os, architecture, variant) = match parts.as_slice() {
            ["linux"] => ("linux", host.architecture.as_str(), None),
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, rest @ ..] => {
                (*os, *architecture, rest.first().map(|v| (*v).to_owned()))
            }
            [] => return Err(Error::invalid("empty platform")),
        };
        Ok(Self { os: os.to_lowercase(), architecture: architecture.to_lowercase(), variant }
            .normalized())
    }

    /// With aliases replaced (`x86_64`, `aarch64`) and default variants left out.
    pub fn normalized(mut self) -> Self {
        let architecture = match self.architecture.as_str() {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" => "386",
            "armhf" => "arm",
            other => other,
        };
        let architecture = architecture.to_owned();
        self.architecture.clone_from(&architecture);
        match (architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("8" | "v8")) | ("amd64", Some("v1")) => self.variant = None,
            ("arm", None) => self.variant = Some("v7".to_owned()),
            ("arm", Some(variant)) if !variant.starts_with('v') => {
                self.variant = Some(format!("v{variant}"))
            }
            _ => {}
        }
        self
    }

    /// Whether something built for `other` runs where `self` is wanted, and how well: higher is better.
    pub fn accepts(&self, other: &Platform) -> Option<u32> {
        let other = other.clone().normalized();
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        if self.variant == other.variant {
            return Some(u32::MAX);
        }
        match (
            self.architecture.as_str(),
            level(self.variant.as_deref()),
            level(other.variant.as_deref()),
        ) {
            ("arm" | "amd64", Some(wanted), Some(offered)) if offered <= wanted => Some(offered),
            ("arm64", _, None) => Some(0),
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

fn level(variant: Option<&str>) -> Option<u32> {
    variant.map_or(Some(1), |variant| variant.strip_prefix('v')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_run_older_ones() {
        for (wanted, offered, expect) in [
            ("linux/amd64", "linux/x86_64", Some(u32::MAX)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/arm64", "linux/arm64/v8", Some(u32::MAX)),
            ("linux/arm/v7", "linux/arm/v6", Some(6)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/amd64", "linux/amd64/v3", None),
        ] {
            let parse = |text| Platform::parse(text).expect("valid");
            assert_eq!(parse(wanted).accepts(&parse(offered)), expect, "{wanted} {offered}");
        }
    }
}
