//! Who a certificate names: node ID in CN, role in OU, cluster ID in O, as SwarmKit writes them.

use std::fmt;
use std::net::SocketAddr;

use swarm_proto::v1;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::CaError;

/// The name in the certificates of a root and of managers that issue certificates.
pub(crate) const CA_NAME: &str = "swarm-ca";

/// A node's role as its certificate attests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs tasks.
    Worker,
    /// Runs tasks and takes part in managing the swarm.
    Manager,
}

impl Role {
    /// The role as certificates write it in OU.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Worker => "swarm-worker",
            Role::Manager => "swarm-manager",
        }
    }

    /// The role of an OU; `None` for one that is no role.
    pub fn from_ou(ou: &str) -> Option<Self> {
        [Role::Worker, Role::Manager]
            .into_iter()
            .find(|role| role.as_str().eq_ignore_ascii_case(ou))
    }

    /// The role as messages carry it.
    pub fn to_proto(self) -> v1::NodeRole {
        match self {
            Role::Worker => v1::NodeRole::Worker,
            Role::Manager => v1::NodeRole::Manager,
        }
    }

    /// The role of a message's field; `None` for a number that is no role.
    pub fn from_proto(role: i32) -> Option<Self> {
        match v1::NodeRole::try_from(role).ok()? {
            v1::NodeRole::Worker => Some(Role::Worker),
            v1::NodeRole::Manager => Some(Role::Manager),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The subject of a node's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's ID (CN).
    pub node_id: String,
    /// What the node may do (OU).
    pub role: Role,
    /// The ID of the cluster that it belongs to (O).
    pub organization: String,
}

impl Identity {
    /// The identity in a certificate in DER form. Whether the certificate is genuine is for TLS to say.
    pub fn from_certificate(der: &[u8]) -> Result<Self, CaError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|e| CaError::MalformedCertificate(e.to_string()))?;
        let subject = certificate.subject();
        let role = subject
            .iter_organizational_unit()
            .filter_map(|ou| ou.as_str().ok())
            .find_map(Role::from_ou)
            .ok_or(CaError::InvalidSubject("no OU found in certificate subject"))?;
        let organization = subject
            .iter_organization()
            .find_map(|o| o.as_str().ok())
            .ok_or(CaError::InvalidSubject("no organization found in certificate subject"))?;
        let node_id = subject
            .iter_common_name()
            .find_map(|cn| cn.as_str().ok())
            .filter(|cn| !cn.is_empty())
            .ok_or(CaError::InvalidSubject("no valid subject names found for TLS configuration"))?;
        Ok(Self { node_id: node_id.to_owned(), role, organization: organization.to_owned() })
    }
}

/// Who is at the other end of a connection; an extension of every request that [`crate::serve`] hands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The subject of the peer's verified certificate; `None` for a peer without one, such as a node that joins.
    pub identity: Option<Identity>,
    /// The subject of its certificate where that has expired a while ago; it is no `identity` then.
    pub expired: Option<Identity>,
    /// The peer's address; `None` for a call from within this process.
    pub remote_addr: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_translate_both_ways() {
        for role in [Role::Worker, Role::Manager] {
            assert_eq!(Role::from_ou(role.as_str()), Some(role));
            assert_eq!(Role::from_proto(role.to_proto() as i32), Some(role));
        }
        assert_eq!(Role::from_ou("swarm-ca"), None);
        assert_eq!(Role::from_proto(9), None);
    }
}
