//! The local driver's options: `type`, `device` and `o`, as for mount(8).

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};

use nix::mount::MsFlags;

use crate::error::{Error, Result};

const KNOWN: [&str; 3] = ["type", "device", "o"];
const FLAGS: [(&str, MsFlags); 14] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("remount", MsFlags::MS_REMOUNT),
    ("mand", MsFlags::MS_MANDLOCK),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("strictatime", MsFlags::MS_STRICTATIME),
    ("bind", MsFlags::MS_BIND),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC)),
];
/// Words that only say what is the case anyway.
const DEFAULTS: [&str; 9] =
    ["defaults", "rw", "suid", "dev", "exec", "async", "atime", "diratime", "auto"];

/// A mount to be made on a volume's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountOptions {
    pub(super) kind: String,
    pub(super) device: String,
    pub(super) flags: MsFlags,
    pub(super) data: String,
}

impl MountOptions {
    /// Reads the options; `None` for a volume that is a plain folder.
    pub(super) fn parse(options: &HashMap<String, String>) -> Result<Option<Self>> {
        if let Some(unknown) = options.keys().filter(|key| !KNOWN.contains(&key.as_str())).min() {
            if unknown == "size" {
                return Err(Error::invalid("quota size requested but no quota support"));
            }
            return Err(Error::invalid(format!("invalid option: \"{unknown}\"")));
        }
        let option = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
        if options.is_empty() {
            return Ok(None);
        }
        for required in ["device", "type"] {
            // A bind mount needs no type; all else needs both (moby: local driver's mandatory options).
            if option(required).is_empty() && !(required == "type" && is_bind(option("o"))) {
                return Err(Error::invalid(format!("missing required option: \"{required}\"")));
            }
        }
        let (flags, data) = split(option("o"));
        let kind = if is_bind(option("o")) { "none" } else { option("type") };
        Ok(Some(Self { kind: kind.to_owned(), device: option("device").to_owned(), flags, data }))
    }

    /// The data with an NFS or CIFS server's name replaced by its address, which is all that the kernel understands.
    pub(super) fn resolved_data(&self) -> Result<String> {
        if !self.kind.starts_with("nfs") && self.kind != "cifs" {
            return Ok(self.data.clone());
        }
        let words = self.data.split(',').map(|word| match word.strip_prefix("addr=") {
            Some(host) if host.parse::<IpAddr>().is_err() => Ok(format!("addr={}", resolve(host)?)),
            _ => Ok(word.to_owned()),
        });
        Ok(words.collect::<Result<Vec<_>>>()?.join(","))
    }
}

fn is_bind(options: &str) -> bool {
    options.split(',').any(|word| word == "bind" || word == "rbind")
}

fn split(options: &str) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for word in options.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match FLAGS.iter().find(|(name, _)| *name == word) {
            Some((_, flag)) => flags |= *flag,
            None if DEFAULTS.contains(&word) => {}
            None => data.push(word),
        }
    }
    (flags, data.join(","))
}

fn resolve(host: &str) -> Result<IpAddr> {
    let mut addresses = (host, 0).to_socket_addrs().map_err(|e| {
        Error::system(format!("error resolving passed in network volume address: {e}"))
            .with_source(e)
    })?;
    let address = addresses.next();
    address
        .map(|a| a.ip())
        .ok_or_else(|| Error::system(format!("no address for network volume server {host}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        options: &[(&str, &str)],
        expect: std::result::Result<Option<(&str, &str, MsFlags, &str)>, &str>,
    ) {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let got = MountOptions::parse(&options).map_err(|e| e.to_string());
        let expect = expect.map_err(str::to_owned).map(|options| {
            options.map(|(kind, device, flags, data)| MountOptions {
                kind: kind.into(),
                device: device.into(),
                flags,
                data: data.into(),
            })
        });
        assert_eq!(got, expect, "{options:?}");
    }

    #[test]
    fn options_become_a_mount() {
        let none = MsFlags::empty();
        check(&[], Ok(None));
        check(
            &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=7,nosuid")],
            Ok(Some(("tmpfs", "tmpfs", MsFlags::MS_NOSUID, "size=1m,uid=7"))),
        );
        check(
            &[("device", "/srv"), ("o", "bind,ro")],
            Ok(Some(("none", "/srv", MsFlags::MS_BIND | MsFlags::MS_RDONLY, ""))),
        );
        check(
            &[("type", "nfs"), ("device", ":/x"), ("o", "addr=10.0.0.1,rw")],
            Ok(Some(("nfs", ":/x", none, "addr=10.0.0.1"))),
        );
        check(&[("foo", "1")], Err("invalid option: \"foo\""));
        check(&[("size", "1G")], Err("quota size requested but no quota support"));
        check(&[("type", "tmpfs")], Err("missing required option: \"device\""));
        check(&[("device", "tmpfs")], Err("missing required option: \"type\""));
    }
}
