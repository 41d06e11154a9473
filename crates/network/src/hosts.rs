//! The text of a container's `/etc/hosts`: loopback names, what the user added, the container's own name last.

use std::net::IpAddr;

/// Docker's name for "an address of the host", allowed in place of an address.
const HOST_GATEWAY: &str = "host-gateway";

/// Lines that every container has.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// What the file is made of.
#[derive(Debug, Clone, Default)]
pub struct Hosts<'a> {
    /// The container's addresses; none on networks host and none.
    pub addresses: &'a [IpAddr],
    /// Its host name, with `.domainname` if it has one: then the short name follows on the same line.
    pub hostname: &'a str,
    /// `--add-host` entries, `name:address` or `name=address`; the address may be in brackets or `host-gateway`.
    pub extra: &'a [String],
    /// What `host-gateway` stands for.
    pub host_gateway: Option<IpAddr>,
}

/// An extra host that can't be written; the texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostsError {
    /// No name or no address.
    #[error("bad format for add-host: {0:?}")]
    BadFormat(String),
    /// The address is none.
    #[error("invalid IP address in add-host: {0:?}")]
    BadAddress(String),
    /// `host-gateway` without a bridge.
    #[error("unable to derive the IP value for host-gateway")]
    NoHostGateway,
}

impl Hosts<'_> {
    /// The file's text.
    pub fn text(&self) -> Result<String, HostsError> {
        let mut text = LOOPBACK.to_owned();
        for entry in self.extra {
            let (name, address) = split(entry)?;
            text.push_str(&format!("{}\t{name}\n", self.resolve(address)?));
        }
        for address in self.addresses {
            text.push_str(&format!("{address}\t{}\n", self.own_names()));
        }
        Ok(text)
    }

    fn own_names(&self) -> String {
        match self.hostname.split_once('.') {
            Some((short, _)) => format!("{} {short}", self.hostname),
            None => self.hostname.to_owned(),
        }
    }

    fn resolve(&self, address: &str) -> Result<IpAddr, HostsError> {
        if address == HOST_GATEWAY {
            return self.host_gateway.ok_or(HostsError::NoHostGateway);
        }
        let bare =
            address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        bare.parse().map_err(|_| HostsError::BadAddress(address.to_owned()))
    }
}

/// Checks `--add-host` entries without writing anything.
pub fn validate(extra: &[String]) -> Result<(), HostsError> {
    let any = Some(IpAddr::from([127, 0, 0, 1]));
    Hosts { extra, host_gateway: any, ..Hosts::default() }.text().map(drop)
}

fn split(entry: &str) -> Result<(&str, &str), HostsError> {
    // Of `=` and `:` the first separates: an IPv6 address has colons of its own.
    entry
        .split_once(['=', ':'])
        .filter(|(name, address)| !name.is_empty() && !address.is_empty())
        .ok_or_else(|| HostsError::BadFormat(entry.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hostname: &str, addresses: &[&str], extra: &[&str], expect: &str) {
        let addresses: Vec<IpAddr> =
            addresses.iter().map(|a| a.parse().expect("an address")).collect();
        let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
        let hosts = Hosts {
            addresses: &addresses,
            hostname,
            extra: &extra,
            host_gateway: Some([172, 17, 0, 1].into()),
        };
        match hosts.text() {
            Ok(text) => assert_eq!(text.strip_prefix(LOOPBACK), Some(expect)),
            Err(error) => assert_eq!(error.to_string(), expect),
        }
    }

    #[test]
    fn text() {
        check("c1", &["172.17.0.2"], &[], "172.17.0.2\tc1\n");
        check("c1.example.org", &["172.17.0.2"], &[], "172.17.0.2\tc1.example.org c1\n");
        check("c1", &[], &["db:10.0.0.5"], "10.0.0.5\tdb\n");
        check("c1", &["172.17.0.2"], &["db=10.0.0.5"], "10.0.0.5\tdb\n172.17.0.2\tc1\n");
        check("c1", &[], &["db:fd00::5", "v6=[::1]"], "fd00::5\tdb\n::1\tv6\n");
        check("c1", &[], &["me:host-gateway"], "172.17.0.1\tme\n");
        check("c1", &[], &["db"], "bad format for add-host: \"db\"");
        check("c1", &[], &[":1.2.3.4"], "bad format for add-host: \":1.2.3.4\"");
        check("c1", &[], &["db:1.2.3"], "invalid IP address in add-host: \"1.2.3\"");
    }
}
