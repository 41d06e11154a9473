//! Discovery URLs: which service tells which engines there are, and where in it.
//!
//! Mirrors docker/docker's `pkg/discovery` and docker/swarm's `discovery/token`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use thiserror::Error;

use super::entry::{Entry, EntryError};
use super::pattern::expand;
use crate::store::TlsFiles;

/// Where agents register below a prefix, unless `kv.path` says otherwise.
const NODES_PATH: &str = "docker/swarm/nodes";
/// The key of the primary manager, below the prefix.
const LEADER_PATH: &str = "docker/swarm/leader";
/// ZooKeeper's port, where none is named.
const ZOOKEEPER_PORT: &str = "2181";

/// A store of keys and values that many managers and agents share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Consul,
    Etcd,
    ZooKeeper,
}

/// A shared store, as a discovery URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl {
    pub(crate) kind: StoreKind,
    /// `host:port`, one at least.
    pub(crate) hosts: Vec<String>,
    /// Where the agents' keys are.
    pub(crate) nodes_path: String,
    /// The primary manager's key.
    pub(crate) leader_key: String,
    /// Where it is spoken to by TLS.
    pub(crate) tls: Option<TlsFiles>,
}

/// What tells which engines there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The engines themselves, named on the command line.
    Fixed(Vec<Entry>),
    /// A file with a line for each.
    File(PathBuf),
    /// A store where agents register them.
    Store(StoreUrl),
}

/// A URL that names no source.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum UrlError {
    #[error("discovery service not supported")]
    Unsupported,
    #[error("{0}, please check you are using the correct discovery (missing token:// ?)")]
    Entry(#[from] EntryError),
    #[error("{scheme}:// names no host: write {scheme}://<host1>,<host2>/<path>")]
    NoHost { scheme: String },
    #[error("the discovery options kv.certfile and kv.keyfile go together: give both or none")]
    HalfKeyPair,
    #[error(
        "zk:// is spoken without TLS: leave kv.cacertfile, kv.certfile and kv.keyfile out, or use consul:// or etcd://"
    )]
    ZooKeeperTls,
    #[error("file:// names no file: write file://path/to/file")]
    NoFile,
    #[error(
        "token:// is served no more: the hosted service was shut down in 2019; \
         use consul://, etcd://, zk://, file:// or nodes://"
    )]
    TokenServiceGone,
}

impl Source {
    /// Reads a discovery argument; a bare list of addresses is one of engines. `options` are the discovery options.
    ///
    /// # Errors
    /// [`UrlError`], in the original's words where it has some.
    pub(crate) fn parse(text: &str, options: &BTreeMap<String, String>) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("nodes", text));
        let kind = match scheme {
            "nodes" => return fixed(rest).map(Self::Fixed),
            "file" if rest.is_empty() => return Err(UrlError::NoFile),
            "file" => return Ok(Self::File(rest.into())),
            "token" => return Err(UrlError::TokenServiceGone),
            "consul" => StoreKind::Consul,
            "etcd" => StoreKind::Etcd,
            "zk" => StoreKind::ZooKeeper,
            _ => return Err(UrlError::Unsupported),
        };
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<String> = hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(|host| with_port(kind, host))
            .collect();
        if hosts.is_empty() {
            return Err(UrlError::NoHost { scheme: scheme.to_owned() });
        }
        let tls = tls_files(options)?;
        if kind == StoreKind::ZooKeeper && tls.is_some() {
            return Err(UrlError::ZooKeeperTls);
        }
        let path = options.get("kv.path").map(String::as_str);
        let path = path.filter(|path| !path.trim_matches('/').is_empty()).unwrap_or(NODES_PATH);
        Ok(Self::Store(StoreUrl {
            kind,
            hosts,
            nodes_path: join(prefix, path),
            leader_key: join(prefix, LEADER_PATH),
            tls,
        }))
    }
}

/// The files for TLS to a store. The original took it that nothing was meant where one of three was missing.
fn tls_files(options: &BTreeMap<String, String>) -> Result<Option<TlsFiles>, UrlError> {
    let file = |name: &str| options.get(name).filter(|file| !file.is_empty()).cloned();
    let own = match (file("kv.certfile"), file("kv.keyfile")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(UrlError::HalfKeyPair),
    };
    let files = TlsFiles { authority: file("kv.cacertfile"), own };
    Ok((files != TlsFiles::default()).then_some(files))
}

/// The engines of a list of addresses and patterns.
pub(crate) fn fixed(list: &str) -> Result<Vec<Entry>, UrlError> {
    let entries = list.split(',').flat_map(|text| expand(text.trim()));
    entries.map(|text| Ok(Entry::parse(&text)?)).collect()
}

fn with_port(kind: StoreKind, host: &str) -> String {
    match kind {
        StoreKind::ZooKeeper if Entry::parse(host).is_err() => format!("{host}:{ZOOKEEPER_PORT}"),
        _ => host.to_owned(),
    }
}

/// One path below the other, without empty parts.
fn join(prefix: &str, path: &str) -> String {
    let parts = prefix.split('/').chain(path.split('/'));
    parts.filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, UrlError> {
        Source::parse(text, &BTreeMap::new())
    }

    #[test]
    fn urls_name_their_source() {
        let store = |kind, hosts: &[&str], prefix: &str| {
            Ok(Source::Store(StoreUrl {
                kind,
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                nodes_path: format!("{prefix}docker/swarm/nodes"),
                leader_key: format!("{prefix}docker/swarm/leader"),
                tls: None,
            }))
        };
        let entry = |text| Entry::parse(text).expect("an address");
        for (text, expect) in [
            (
                "consul://192.168.42.10:8500/nodes",
                store(StoreKind::Consul, &["192.168.42.10:8500"], "nodes/"),
            ),
            ("consul://10.0.0.1:8500/", store(StoreKind::Consul, &["10.0.0.1:8500"], "")),
            ("etcd://a:2379,b:2379", store(StoreKind::Etcd, &["a:2379", "b:2379"], "")),
            ("zk://a,b:2182/x//y/", store(StoreKind::ZooKeeper, &["a:2181", "b:2182"], "x/y/")),
            ("a:1, b:2", Ok(Source::Fixed(vec![entry("a:1"), entry("b:2")]))),
            ("nodes://a[1:2]:1", Ok(Source::Fixed(vec![entry("a1:1"), entry("a2:1")]))),
            ("file:///tmp/x", Ok(Source::File("/tmp/x".into()))),
            ("file://x", Ok(Source::File("x".into()))),
            ("file://", Err(UrlError::NoFile)),
            ("Consul://a:1", Err(UrlError::Unsupported)),
            ("consul:///x", Err(UrlError::NoHost { scheme: "consul".into() })),
            ("token://1234", Err(UrlError::TokenServiceGone)),
        ] {
            assert_eq!(parse(text), expect, "{text}");
        }
        let said = parse("1.1.1.1").expect_err("no port").to_string();
        let expect = "address 1.1.1.1: missing port in address, please check you are using the \
                      correct discovery (missing token:// ?)";
        assert_eq!(said, expect);
        let with = |options: &[(&str, &str)]| {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            Source::parse("etcd://a:1/p", &options.iter().map(owned).collect())
        };
        assert_eq!(with(&[("kv.keyfile", "k")]), Err(UrlError::HalfKeyPair));
        let options = [
            ("kv.path", "docker/nodes"),
            ("kv.cacertfile", "a"),
            ("kv.certfile", "c"),
            ("kv.keyfile", "k"),
        ];
        let Ok(Source::Store(store)) = with(&options) else { panic!("a store") };
        let files = TlsFiles { authority: Some("a".into()), own: Some(("c".into(), "k".into())) };
        assert_eq!(store.tls, Some(files));
        assert_eq!(
            (store.nodes_path, store.leader_key),
            ("p/docker/nodes".to_owned(), "p/docker/swarm/leader".to_owned())
        );
    }
}
