//! What a change of the cluster's CA settings makes of its root: nothing, another key or authority, or a root rotation.
//!
//! Mirrors SwarmKit's `controlapi/ca_rotation.go`, texts included. It reads the cluster and asks external authorities;
//! nothing is written here, so a refusal leaves everything as it was.

use std::time::Duration;

use swarm_ca::{CaError, ExternalCa, RootCa, TlsMaterials, normalize_pem};
use swarm_proto::v1::external_ca::CaProtocol;
use swarm_proto::v1::{CaConfig, Cluster, RootCa as RootCaObject, RootRotation};
use tonic::Status;

/// A new root is valid for a year at least.
const ROOT_VALID_MIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// The root that the cluster is to have with these settings.
///
/// # Errors
/// `InvalidArgument`, where the settings make no sense or an authority that they need cannot be reached.
pub(super) async fn wanted_root(
    cluster: &Cluster,
    config: &CaConfig,
    materials: Option<&TlsMaterials>,
) -> Result<RootCaObject, Status> {
    let present = cluster.root_ca.clone().unwrap_or_default();
    let change = Change {
        root: normalize_pem(&present.ca_cert).map_err(internal)?,
        present: &present,
        config,
        materials,
    };
    change.wanted().await
}

/// The addresses of the authorities that sign with this certificate, which is normalized.
pub(crate) fn external_urls(config: &CaConfig, root: &[u8], certificate: &[u8]) -> Vec<String> {
    let authorities = config.external_cas.iter().filter(|ca| ca.protocol() == CaProtocol::Cfssl);
    authorities
        .filter(|ca| match ca.ca_cert.as_slice() {
            // One that says nothing is the present root's.
            [] => root == certificate,
            own => normalize_pem(own).is_ok_and(|own| own == certificate),
        })
        .map(|ca| ca.url.clone())
        .collect()
}

struct Change<'a> {
    present: &'a RootCaObject,
    /// The present certificate, normalized.
    root: Vec<u8>,
    config: &'a CaConfig,
    materials: Option<&'a TlsMaterials>,
}

impl Change<'_> {
    async fn wanted(&self) -> Result<RootCaObject, Status> {
        let config = self.config;
        if !config.signing_ca_key.is_empty() && config.signing_ca_cert.is_empty() {
            return Err(invalid(
                "if a signing CA key is provided, the signing CA cert must also be provided",
            ));
        }
        let desired = match config.signing_ca_cert.as_slice() {
            [] => None,
            pem => Some(normalize_pem(pem).map_err(|error| invalid(&error.to_string()))?),
        };
        if self.present.ca_key.is_empty() {
            if desired.as_ref() == Some(&self.root) && !config.signing_ca_key.is_empty() {
                self.desired_root(&self.root)?;
                return Ok(self.with_key());
            }
            self.external(&self.root, "current").await?;
        }
        match desired {
            None => self.unchanged_or_new().await,
            Some(desired) => self.desired(desired).await,
        }
    }

    /// No certificate is given: a new root where one was asked for.
    async fn unchanged_or_new(&self) -> Result<RootCaObject, Status> {
        if self.present.last_forced_rotation != self.config.force_rotate {
            return self.rotation(&RootCa::create().map_err(internal)?).await;
        }
        if let Some(rotation) = self.present.root_rotation.as_ref().filter(|r| r.ca_key.is_empty())
        {
            self.external(&normalize_pem(&rotation.ca_cert).map_err(internal)?, "next").await?;
        }
        Ok(self.present.clone())
    }

    /// A certificate is given, and a key or an authority that has it.
    async fn desired(&self, desired: Vec<u8>) -> Result<RootCaObject, Status> {
        let root = self.desired_root(&desired)?;
        if root.certificates() != 1 {
            return Err(invalid("the desired CA certificate cannot contain multiple certificates"));
        }
        if !root.is_valid_for(ROOT_VALID_MIN) {
            return Err(invalid("CA certificate expires too soon"));
        }
        if self.config.signing_ca_key.is_empty() {
            self.external(&desired, "desired").await?;
        }
        if desired == self.root {
            return Ok(self.with_key());
        }
        if !self.config.signing_ca_key.is_empty()
            && self.config.signing_ca_key == self.present.ca_key
        {
            return Err(invalid("Cannot update to a cert with an identical key"));
        }
        let mut wanted = self.present.clone();
        if let Some(rotation) = wanted.root_rotation.as_mut()
            && normalize_pem(&rotation.ca_cert).is_ok_and(|under_way| under_way == desired)
        {
            rotation.ca_key = self.config.signing_ca_key.clone();
            wanted.last_forced_rotation = self.config.force_rotate;
            return Ok(wanted);
        }
        self.rotation(&root).await
    }

    fn desired_root(&self, certificate: &[u8]) -> Result<RootCa, Status> {
        let root = match self.config.signing_ca_key.as_slice() {
            [] => RootCa::from_pem(certificate),
            key => RootCa::with_signer(certificate, certificate, key, &[]),
        };
        root.map_err(|error| invalid(&error.to_string()))
    }

    /// The present certificate with the key that was given, or without; a rotation that is under way is given up.
    fn with_key(&self) -> RootCaObject {
        RootCaObject {
            ca_key: self.config.signing_ca_key.clone(),
            root_rotation: None,
            last_forced_rotation: self.config.force_rotate,
            ..self.present.clone()
        }
    }

    /// A rotation to this root; one that is under way is replaced.
    async fn rotation(&self, root: &RootCa) -> Result<RootCaObject, Status> {
        let cross_signed = if !self.present.ca_key.is_empty() {
            let (cert, key) = (&self.present.ca_cert, &self.present.ca_key);
            // The old root signs even where another rotation is under way.
            RootCa::with_signer(cert, cert, key, &[])
                .and_then(|old| old.cross_sign(root.certificates_pem()))
        } else if !root.can_sign() {
            return Err(invalid(
                "rotating from one external CA to a different external CA is not supported",
            ));
        } else {
            self.external(&self.root, "current").await?.cross_sign(root).await
        };
        let cross_signed = cross_signed.and_then(|pem| normalize_pem(&pem)).map_err(|error| {
            tracing::warn!(%error, "a new root cannot be cross-signed");
            Status::internal("unable to generate a cross-signed certificate for root rotation")
        })?;
        Ok(RootCaObject {
            root_rotation: Some(RootRotation {
                ca_cert: root.certificates_pem().to_vec(),
                ca_key: root.key_pem().map(<[u8]>::to_vec).unwrap_or_default(),
                cross_signed_ca_cert: cross_signed,
            }),
            last_forced_rotation: self.config.force_rotate,
            ..self.present.clone()
        })
    }

    /// The external authority that has the key of this certificate, if it can be reached.
    async fn external(&self, certificate: &[u8], which: &str) -> Result<ExternalCa, Status> {
        let urls = external_urls(self.config, &self.root, certificate);
        if let Some(materials) = self.materials {
            let root =
                RootCa::from_pem(certificate).map_err(|error| invalid(&error.to_string()))?;
            let authority = ExternalCa::new(urls, root, materials.clone());
            if authority.is_reachable().await {
                return Ok(authority);
            }
        }
        Err(invalid(&format!(
            "there must be at least one valid, reachable external CA corresponding to the {which} CA certificate"
        )))
    }
}

fn invalid(why: &str) -> Status {
    Status::invalid_argument(why)
}

fn internal(error: CaError) -> Status {
    tracing::error!(%error, "the cluster's root CA cannot be used");
    Status::internal("error loading cluster rootCA for update")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(root: &RootCa) -> Cluster {
        let root_ca = RootCaObject {
            ca_cert: root.certificates_pem().to_vec(),
            ca_key: root.key_pem().expect("has a key").to_vec(),
            last_forced_rotation: 1,
            ..RootCaObject::default()
        };
        Cluster { root_ca: Some(root_ca), ..Cluster::default() }
    }

    fn config(cert: &[u8], key: &[u8], force_rotate: u64) -> CaConfig {
        CaConfig {
            signing_ca_cert: cert.to_vec(),
            signing_ca_key: key.to_vec(),
            force_rotate,
            ..CaConfig::default()
        }
    }

    #[tokio::test]
    async fn settings_decide_what_becomes_of_the_root() {
        let (old, new) = (RootCa::create().expect("a root"), RootCa::create().expect("a root"));
        let (old_cert, new_cert) = (old.certificates_pem(), new.certificates_pem());
        let (old_key, new_key) = (old.key_pem().expect("a key"), new.key_pem().expect("a key"));
        let cluster = cluster(&old);
        let two = [old_cert, new_cert].concat();
        for (config, expect) in [
            (config(b"", b"", 1), Ok(None)),
            (config(b"", b"", 2), Ok(Some(None))),
            (config(new_cert, new_key, 1), Ok(Some(Some(new_cert)))),
            (config(old_cert, old_key, 1), Ok(None)),
            (config(b"", new_key, 1), Err("if a signing CA key is provided, the signing CA cert")),
            (config(b"rubbish", new_key, 1), Err("no valid root CA certificates found")),
            (config(new_cert, old_key, 1), Err("certificate key mismatch")),
            (config(new_cert, b"rubbish", 1), Err("malformed private key")),
            (config(&two, old_key, 1), Err("the desired CA certificate cannot contain multiple")),
            (config(new_cert, b"", 1), Err("there must be at least one valid, reachable external")),
        ] {
            let wanted = wanted_root(&cluster, &config, None).await;
            match (wanted, expect) {
                (Ok(wanted), Ok(None)) => assert_eq!(Some(&wanted), cluster.root_ca.as_ref()),
                (Ok(wanted), Ok(Some(cert))) => {
                    assert_eq!(wanted.ca_cert, old_cert);
                    assert_eq!(wanted.last_forced_rotation, config.force_rotate);
                    let rotation = wanted.root_rotation.expect("a rotation");
                    assert!(cert.is_none_or(|cert| rotation.ca_cert == cert));
                    assert!(!rotation.cross_signed_ca_cert.is_empty());
                }
                (Err(status), Err(text)) => {
                    assert!(status.message().starts_with(text), "{}", status.message());
                }
                (wanted, expect) => panic!("{wanted:?} for {expect:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_rotation_is_replaced_given_up_or_gets_its_key() {
        let (old, new) = (RootCa::create().expect("a root"), RootCa::create().expect("a root"));
        let new_key = new.key_pem().expect("a key");
        let mut cluster = cluster(&old);
        let begun = config(new.certificates_pem(), new_key, 1);
        let first = wanted_root(&cluster, &begun, None).await.expect("a rotation");
        cluster.root_ca = Some(first.clone());
        // The same again is the same rotation.
        assert_eq!(wanted_root(&cluster, &begun, None).await.expect("goes on"), first);
        // Without a certificate it goes on too, and a forced one replaces it.
        assert_eq!(
            wanted_root(&cluster, &config(b"", b"", 1), None).await.expect("goes on"),
            first
        );
        let other = wanted_root(&cluster, &config(b"", b"", 2), None).await.expect("another");
        assert_ne!(other.root_rotation, first.root_rotation);
        let back = config(old.certificates_pem(), old.key_pem().expect("a key"), 1);
        let given_up = wanted_root(&cluster, &back, None).await.expect("given up");
        assert_eq!(given_up.root_rotation, None);
    }
}
