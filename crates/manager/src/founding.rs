//! What a leader finds missing in an empty store and puts there: the cluster, itself, and the predefined networks.
//!
//! Mirrors SwarmKit's `manager.becomeLeader` and `defaultClusterObject`.

use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use swarm_ca::{JoinToken, RootCa, UnlockKey};
use swarm_proto::id::new_id;
use swarm_proto::v1::encryption_key::Algorithm;
use swarm_proto::v1::issuance_status::State as Issuance;
use swarm_proto::v1::node_spec::{Availability, Membership};
use swarm_proto::v1::{
    Annotations, Certificate, Cluster, ClusterSpec, Driver, EncryptionKey, IssuanceStatus,
    JoinTokens, Network, NetworkSpec, Node, NodeRole, NodeSpec, RootCa as RootCaObject,
};
use swarm_pulse::SECRET_BYTES;
use swarm_store::{DEFAULT_CLUSTER_NAME, Error, Transaction};

use crate::control::{check_spec, manager_key};

/// The label by which clients know the networks that every node has.
const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";
/// The networks that every node has, with their drivers.
const PREDEFINED_NETWORKS: [(&str, &str); 3] =
    [("bridge", "bridge"), ("host", "host"), ("none", "null")];
/// Bytes of a network key (AES-128).
const NETWORK_KEY_BYTES: usize = 16;
/// The uses of network keys that stock engines expect to find.
const NETWORK_KEY_USES: [&str; 2] = ["networking:gossip", "networking:ipsec"];

/// Ports that Docker allows for the data path: below lie the privileged ones, above the ephemeral ones.
const DATA_PATH_PORTS: RangeInclusive<u32> = 1024..=49151;
/// The subnets' prefix length where none was asked for.
const SUBNET_SIZE: u32 = 24;
/// The longest one: eight addresses.
const SUBNET_SIZE_MAX: u32 = 29;

/// What founds a cluster.
#[derive(Debug, Clone)]
pub struct Founding {
    /// The identifier of the new cluster, which its certificates carry.
    pub cluster_id: String,
    /// The root CA with its key.
    pub root_ca: RootCa,
    /// What locks the managers, where the settings say that they are locked.
    pub unlock_key: Option<UnlockKey>,
    /// The settings that `docker swarm init` gave.
    pub spec: ClusterSpec,
    /// The founder's availability.
    pub availability: Availability,
    /// Pools of subnets for overlay networks; empty for the default.
    pub default_address_pool: Vec<String>,
    /// Prefix length of the subnets that are cut from the pools.
    pub subnet_size: u32,
    /// The UDP port of the overlay data path.
    pub data_path_port: u32,
}

impl Founding {
    /// Checks what the founder asked for before anything is made of it.
    ///
    /// # Errors
    /// What is wrong, for the user.
    pub fn check(&self) -> Result<(), String> {
        check_spec(cluster(self).spec.as_ref().unwrap_or(&self.spec))
            .map_err(|status| status.message().to_owned())?;
        let size = if self.subnet_size == 0 { SUBNET_SIZE } else { self.subnet_size };
        if !self.default_address_pool.is_empty() && size > SUBNET_SIZE_MAX {
            return Err(format!("subnet size is out of range: {size}"));
        }
        for pool in &self.default_address_pool {
            let net: Ipv4Net = pool.parse().map_err(|_| format!("invalid CIDR address: {pool}"))?;
            if size < u32::from(net.prefix_len()) {
                return Err(format!(
                    "invalid CIDR: {pool:?}. Subnet size is too small for pool: {size}"
                ));
            }
        }
        match self.data_path_port {
            // Zero is the default port.
            0 => Ok(()),
            port if DATA_PATH_PORTS.contains(&port) => Ok(()),
            port => Err(format!(
                "invalid data path port {port}: it must lie between {} and {}",
                DATA_PATH_PORTS.start(),
                DATA_PATH_PORTS.end()
            )),
        }
    }
}

/// Puts the founding objects into a store that has no cluster yet; does nothing otherwise.
pub(crate) fn found(
    transaction: &mut Transaction<'_>,
    founding: &Founding,
    node_id: &str,
) -> Result<(), Error> {
    if transaction.cluster().is_some() {
        return Ok(());
    }
    transaction.create(cluster(founding))?;
    transaction.create(manager(node_id, founding.availability, founding.data_path_port))?;
    for (name, driver) in PREDEFINED_NETWORKS {
        transaction.create(predefined_network(name, driver))?;
    }
    Ok(())
}

fn cluster(founding: &Founding) -> Cluster {
    let mut spec = founding.spec.clone();
    spec.annotations.get_or_insert_default().name = DEFAULT_CLUSTER_NAME.to_owned();
    let digest = founding.root_ca.digest();
    let root_ca = RootCaObject {
        ca_key: founding.root_ca.key_pem().map(<[u8]>::to_vec).unwrap_or_default(),
        ca_cert: founding.root_ca.certificates_pem().to_vec(),
        ca_cert_hash: format!("sha256:{}", digest.to_hex()),
        join_tokens: Some(JoinTokens {
            worker: JoinToken::generate(digest).to_string(),
            manager: JoinToken::generate(digest).to_string(),
        }),
        ..RootCaObject::default()
    };
    let (keys, clock) = network_keys();
    Cluster {
        id: founding.cluster_id.clone(),
        spec: Some(spec),
        root_ca: Some(root_ca),
        unlock_keys: founding.unlock_key.as_ref().map(manager_key).into_iter().collect(),
        network_bootstrap_keys: keys,
        encryption_key_lamport_clock: clock,
        default_address_pool: founding.default_address_pool.clone(),
        subnet_size: founding.subnet_size,
        vxlanudp_port: founding.data_path_port,
        pulse_secret: rand::random::<[u8; SECRET_BYTES]>().to_vec(),
        ..Cluster::default()
    }
}

/// The first keys of the network data path. The Lamport clock starts at a random point, so that keys of a restored
/// cluster are not taken for older ones.
fn network_keys() -> (Vec<EncryptionKey>, u64) {
    let mut clock = u64::from(rand::random::<u16>());
    let keys = NETWORK_KEY_USES
        .iter()
        .map(|subsystem| {
            clock += 1;
            EncryptionKey {
                subsystem: (*subsystem).to_owned(),
                algorithm: Algorithm::Aes128Gcm.into(),
                key: rand::random::<[u8; NETWORK_KEY_BYTES]>().to_vec(),
                lamport_time: clock,
            }
        })
        .collect();
    (keys, clock)
}

/// A manager that is there because it says so: a founder, or who goes on alone.
pub(crate) fn manager(node_id: &str, availability: Availability, data_path_port: u32) -> Node {
    Node {
        id: node_id.to_owned(),
        spec: Some(NodeSpec {
            desired_role: NodeRole::Manager.into(),
            membership: Membership::Accepted.into(),
            availability: availability.into(),
            ..NodeSpec::default()
        }),
        certificate: Some(Certificate {
            role: NodeRole::Manager.into(),
            cn: node_id.to_owned(),
            status: Some(IssuanceStatus { state: Issuance::Issued.into(), ..Default::default() }),
            ..Certificate::default()
        }),
        role: NodeRole::Manager.into(),
        vxlanudp_port: data_path_port,
        ..Node::default()
    }
}

fn predefined_network(name: &str, driver: &str) -> Network {
    let labels = [(PREDEFINED_LABEL.to_owned(), "true".to_owned())];
    Network {
        id: new_id(),
        spec: Some(NetworkSpec {
            annotations: Some(Annotations {
                name: name.to_owned(),
                labels: labels.into_iter().collect(),
                ..Annotations::default()
            }),
            driver_config: Some(Driver { name: driver.to_owned(), ..Driver::default() }),
            ..NetworkSpec::default()
        }),
        driver_state: Some(Driver { name: driver.to_owned(), ..Driver::default() }),
        ..Network::default()
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{CaConfig, DispatcherConfig};

    use super::*;

    fn founding() -> Founding {
        Founding {
            cluster_id: new_id(),
            root_ca: RootCa::create().expect("a root"),
            unlock_key: None,
            spec: ClusterSpec::default(),
            availability: Availability::Active,
            default_address_pool: Vec::new(),
            subnet_size: 0,
            data_path_port: 0,
        }
    }

    #[test]
    fn settings_that_no_cluster_can_have_are_refused() {
        type Change = fn(&mut Founding);
        let cases: [(Change, Option<&str>); 8] = [
            (|_| (), None),
            (|f| f.data_path_port = 7777, None),
            (|f| f.data_path_port = 22, Some("invalid data path port 22: it must lie between")),
            (|f| f.default_address_pool = vec!["10.20.0.0/16".into()], None),
            (
                |f| f.default_address_pool = vec!["10.0.0.0/33".into()],
                Some("invalid CIDR address: 10.0.0.0/33"),
            ),
            (
                |f| {
                    f.default_address_pool = vec!["10.0.0.0/16".into()];
                    f.subnet_size = 8;
                },
                Some("invalid CIDR: \"10.0.0.0/16\". Subnet size is too small for pool: 8"),
            ),
            (
                |f| {
                    let expiry = prost_types::Duration { seconds: 1, nanos: 0 };
                    let ca = CaConfig { node_cert_expiry: Some(expiry), ..CaConfig::default() };
                    f.spec.ca_config = Some(ca);
                },
                Some("minimum certificate expiry time is: 1h0m0s"),
            ),
            (
                |f| {
                    let period = Some(prost_types::Duration { seconds: -5, nanos: 0 });
                    f.spec.dispatcher = Some(DispatcherConfig { heartbeat_period: period });
                },
                Some("heartbeat time period cannot be a negative duration"),
            ),
        ];
        for (change, expect) in cases {
            let mut founding = founding();
            change(&mut founding);
            match (founding.check(), expect) {
                (Ok(()), None) => {}
                (Err(said), Some(expect)) => assert!(said.starts_with(expect), "{said}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
