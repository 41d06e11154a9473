//! Pure: from what runs to what HAProxy should serve, and what is to be said about it.
//!
//! A container has a host name (its own with a dot in it or with a domain, or one by label), or a path; containers with
//! the same are servers of one backend. All that is decided follows from the candidates alone, in a fixed order.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::wishes::{Wishes, is_name};

/// How often a server is checked, in milliseconds, where nobody says otherwise.
const CHECK_INTERVAL_MS: u32 = 5000;

/// Something that runs, and may be served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    /// For people: `node/name`, or `service.slot`.
    pub(crate) name: String,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) env: Vec<String>,
    pub(crate) ports: BTreeSet<Published>,
}

/// A port of a candidate, and where it is published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Published {
    pub(crate) private: u16,
    /// Empty for wherever the cluster is.
    pub(crate) address: String,
    pub(crate) public: u16,
}

/// What is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Those with a path first, the longest before others; then by name.
    pub(crate) hosts: Vec<Host>,
    /// What is worth a warning, in words.
    pub(crate) notices: Vec<String>,
}

/// A backend. Templates name these as `hosts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Host {
    /// The backend's name.
    pub(crate) name: String,
    /// The host that is asked for; empty where a path is.
    pub(crate) domain: String,
    /// The path that is asked for; empty where a host is.
    pub(crate) context_root: String,
    pub(crate) context_root_rewrite: bool,
    /// HAProxy's option for health checks; empty where connecting is enough.
    pub(crate) check: String,
    pub(crate) backend_options: Vec<String>,
    /// Empty as usual.
    pub(crate) balance_algorithm: String,
    pub(crate) ssl_only: bool,
    pub(crate) upstreams: Vec<Upstream>,
}

/// A server of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    /// `address:port`
    pub(crate) address: String,
    pub(crate) check_interval_ms: u32,
    pub(crate) ssl: bool,
    /// `none` or `required`
    pub(crate) ssl_verify: String,
}

/// Where servers are that don't say it themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses<'a> {
    /// Instead of what engines say.
    pub(crate) overriding: Option<&'a str>,
    /// For ports that are published on all of an engine's addresses.
    pub(crate) fallback: &'a str,
}

/// Plans what is served.
pub(crate) fn plan(mut candidates: Vec<Candidate>, addresses: Addresses<'_>) -> Plan {
    candidates.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    let mut notices = Vec::new();
    let mut hosts: BTreeMap<Key, Host> = BTreeMap::new();
    for candidate in &candidates {
        match served(candidate, addresses) {
            Ok(None) => {}
            Err(notice) => notices.push(format!("{}: {notice}", candidate.called())),
            Ok(Some(served)) => {
                notices.extend(
                    served.notices.iter().map(|notice| format!("{}: {notice}", candidate.called())),
                );
                for key in &served.keys {
                    let host = hosts.entry(key.clone()).or_default();
                    notices.extend(host.add(key, &served, candidate));
                }
            }
        }
    }
    let mut hosts: Vec<Host> = hosts
        .into_iter()
        .map(|(key, host)| {
            let (domain, context_root) = match key {
                Key::Domain(domain) => (domain, String::new()),
                Key::Path(path) => (String::new(), path),
            };
            Host { domain, context_root, ..host }
        })
        .collect();
    let length = |host: &Host| std::cmp::Reverse(host.context_root.len());
    hosts.sort_by_key(|host| (length(host), host.domain.clone(), host.context_root.clone()));
    name(&mut hosts);
    Plan { hosts, notices }
}

impl Plan {
    /// Without what containers ask of these backends, as far as HAProxy may not understand it.
    pub(crate) fn plainer(&self, backends: &BTreeSet<String>) -> Self {
        let mut plan = self.clone();
        for host in plan.hosts.iter_mut().filter(|host| backends.contains(&host.name)) {
            host.check.clear();
            host.backend_options.clear();
            host.balance_algorithm.clear();
            for upstream in &mut host.upstreams {
                upstream.ssl = false;
            }
        }
        plan
    }

    /// Without these backends.
    pub(crate) fn without(&self, backends: &BTreeSet<String>) -> Self {
        let mut plan = self.clone();
        plan.hosts.retain(|host| !backends.contains(&host.name));
        plan
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Domain(String),
    Path(String),
}

/// A candidate that is served.
struct Served {
    keys: BTreeSet<Key>,
    address: String,
    wishes: Wishes,
    notices: Vec<String>,
}

fn served(candidate: &Candidate, addresses: Addresses<'_>) -> Result<Option<Served>, String> {
    let read = Wishes::read(&candidate.labels, &candidate.env).map_err(|error| error.to_string());
    let (mut wishes, notices) = read?;
    let mut keys = BTreeSet::new();
    if wishes.context_root.is_empty() {
        let Some(domain) = domain(candidate, &wishes)? else { return Ok(None) };
        keys.insert(Key::Domain(domain));
    } else {
        keys.insert(Key::Path(wishes.context_root.trim_end_matches('/').to_owned()));
    }
    keys.extend(wishes.aliases.iter().map(|alias| Key::Domain(alias.to_ascii_lowercase())));
    let port = port(candidate, wishes.port)?;
    if wishes.check_interval_ms == 0 {
        wishes.check_interval_ms = CHECK_INTERVAL_MS;
    }
    let everywhere = ["", "0.0.0.0", "::"].contains(&port.address.as_str());
    let address = match addresses.overriding {
        Some(address) => address,
        None if everywhere => addresses.fallback,
        None => &port.address,
    };
    let is_address = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if !address.chars().all(is_address) {
        return Err(format!("its address {address:?} is none"));
    }
    let address = match address.contains(':') {
        true => format!("[{address}]:{}", port.public),
        false => format!("{address}:{}", port.public),
    };
    Ok(Some(Served { keys, address, wishes, notices }))
}

/// The host name that a candidate is served by; none where it does not want to be.
fn domain(candidate: &Candidate, wishes: &Wishes) -> Result<Option<String>, String> {
    let is_asked_for = !wishes.hostname.is_empty();
    let hostname = if is_asked_for { &wishes.hostname } else { &candidate.hostname };
    let domain = if wishes.domain.is_empty() { &candidate.domainname } else { &wishes.domain };
    let full = match (hostname.as_str(), domain.as_str()) {
        // Docker has put whole names into the host name since 1.11.
        (hostname, "") if is_asked_for || hostname.contains('.') => hostname.to_owned(),
        (_, "") if !wishes.aliases.is_empty() => return Ok(wishes.aliases.first().cloned()),
        (_, "") => return Ok(None),
        ("", domain) => domain.to_owned(),
        (hostname, domain) if hostname == domain => domain.to_owned(),
        (hostname, domain) => format!("{hostname}.{domain}"),
    };
    match is_name(&full) {
        true => Ok(Some(full.to_ascii_lowercase())),
        false => Err(format!("hostname {full:?} is refused: it is no host name")),
    }
}

fn port(candidate: &Candidate, wanted: u16) -> Result<&Published, String> {
    // Addresses of the older kind first: everybody can reach them.
    let mut ports: Vec<&Published> = candidate.ports.iter().collect();
    ports.sort_by_key(|port| (port.private, port.address.contains(':'), *port));
    match ports.iter().find(|port| wanted == 0 || port.private == wanted) {
        Some(port) => Ok(port),
        None if ports.is_empty() => Err("no ports exposed".to_owned()),
        None => Err(format!("port {wanted} is not published")),
    }
}

impl Candidate {
    /// What people are told that it is.
    fn called(&self) -> String {
        let id: String = self.id.chars().take(12).filter(char::is_ascii_alphanumeric).collect();
        match self.name.is_empty() {
            true => id,
            false => format!("{id} ({})", self.name.escape_debug()),
        }
    }

    /// A name for HAProxy's statistics.
    fn server(&self) -> String {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match !name.is_empty() && name.len() <= 128 && name.chars().all(is_plain) {
            true => name.to_owned(),
            false => self.id.chars().take(12).filter(char::is_ascii_alphanumeric).collect(),
        }
    }
}

impl Host {
    /// Adds a server; who was there first decides what the backend is like.
    fn add(&mut self, key: &Key, served: &Served, candidate: &Candidate) -> Option<String> {
        let wishes = &served.wishes;
        let mut notice = None;
        if self.check.is_empty() {
            self.check.clone_from(&wishes.check);
        } else if !wishes.check.is_empty() && wishes.check != self.check {
            let (Key::Domain(name) | Key::Path(name)) = key;
            notice = Some(format!("conflicting check specified for {name}"));
        }
        if self.backend_options.is_empty() {
            self.backend_options.clone_from(&wishes.backend_options);
        }
        if self.balance_algorithm.is_empty() {
            self.balance_algorithm.clone_from(&wishes.balance_algorithm);
        }
        self.ssl_only |= wishes.ssl_only;
        self.context_root_rewrite |= wishes.context_root_rewrite;
        let mut name = candidate.server();
        if self.upstreams.iter().any(|upstream| upstream.name == name) {
            let id = candidate.id.chars().take(12).filter(char::is_ascii_alphanumeric);
            name = format!("{name}-{}-{}", id.collect::<String>(), self.upstreams.len());
        }
        let verify = wishes.ssl_backend_tls_verify.as_str();
        self.upstreams.push(Upstream {
            name,
            address: served.address.clone(),
            check_interval_ms: wishes.check_interval_ms,
            ssl: wishes.ssl_backend,
            ssl_verify: if verify.is_empty() { "none".to_owned() } else { verify.to_owned() },
        });
        notice
    }
}

/// Gives backends their names: the domain with `_` for each dot, as it was; as it is where two would be the same.
fn name(hosts: &mut [Host]) {
    let wanted = |host: &Host| match host.context_root.is_empty() {
        true => host.domain.replace('.', "_"),
        false => format!("ctx{}", host.context_root.replace(['/', '~'], "_")),
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for host in hosts.iter() {
        *counts.entry(wanted(host)).or_default() += 1;
    }
    for (number, host) in hosts.iter_mut().enumerate() {
        let name = wanted(host);
        host.name = match (counts.get(&name), host.context_root.is_empty()) {
            (Some(1), _) => name,
            (_, true) => format!("host:{}", host.domain),
            (_, false) => format!("{name}:{number}"),
        };
    }
}

#[cfg(test)]
mod tests;
