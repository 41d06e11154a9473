//! Renews the node's certificate in time, and at once when its role changes.
//!
//! Mirrors SwarmKit's `TLSRenewer`: [`RenewalClock`] decides when, [`Renewer`] does it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::Rng as _;
use swarm_proto::Channel;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::client::{IssuedCertificate, cluster_lock, fetch_root};
use crate::{
    CaError, CertificateFiles, CertificateRequest, Role, TlsMaterials, Validity,
    request_certificate,
};

/// Failed attempts are repeated after 5 s, 10 s, and so on up to an hour.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// The part of its lifetime after which a certificate is renewed: random between these, so that nodes that joined
/// together don't renew together.
const EARLIEST: f64 = 0.5;
const LATEST: f64 = 0.8;

/// Decides when to renew. Pure: time and chance are arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalClock {
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// A renewal was asked for and has not succeeded yet.
    pub forced: bool,
}

impl RenewalClock {
    /// How long to wait before the next attempt; `chance` is between 0 and 1 and stays the same for one certificate.
    pub fn delay(&self, validity: Validity, now: SystemTime, chance: f64) -> Duration {
        if self.failures > 0 {
            return RETRY_FIRST.saturating_mul(1 << (self.failures - 1).min(16)).min(RETRY_MAX);
        }
        if self.forced {
            return Duration::ZERO;
        }
        let lifetime = validity.not_after.duration_since(validity.not_before).unwrap_or_default();
        let due = validity.not_before
            + lifetime.mul_f64(EARLIEST + (LATEST - EARLIEST) * chance.clamp(0.0, 1.0));
        due.duration_since(now).unwrap_or_default()
    }
}

/// Keeps a node's certificate fresh. Clones ask the same one.
#[derive(Clone)]
pub struct Renewer {
    materials: TlsMaterials,
    files: CertificateFiles,
    asked: Arc<Notify>,
}

impl Renewer {
    /// Renews into these materials and files.
    pub fn new(materials: TlsMaterials, files: CertificateFiles) -> Self {
        Self { materials, files, asked: Arc::new(Notify::new()) }
    }

    /// Asks for a renewal at once, as after a promotion or demotion. `run` does it.
    pub fn renew_now(&self) {
        self.asked.notify_one();
    }

    /// Renews for ever; `managers` gives a channel to some manager that shows the certificate in the materials, and is
    /// asked anew for each attempt.
    pub async fn run(&self, mut managers: impl FnMut(&TlsMaterials) -> Option<Channel>) {
        let mut clock = RenewalClock::default();
        let mut chance = rand::rng().random();
        loop {
            let validity = self.materials.certificate().validity();
            let delay = clock.delay(validity, SystemTime::now(), chance);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.asked.notified() => clock = RenewalClock { failures: 0, forced: true },
            }
            match self.renew(&mut managers).await {
                Ok(()) => {
                    clock = RenewalClock::default();
                    chance = rand::rng().random();
                }
                Err(error) => {
                    warn!(%error, "failed to renew the certificate");
                    clock.failures += 1;
                }
            }
        }
    }

    /// Gets a new certificate from one of the managers.
    pub async fn renew(
        &self,
        managers: &mut impl FnMut(&TlsMaterials) -> Option<Channel>,
    ) -> Result<(), CaError> {
        let channel = managers(&self.materials).ok_or(CaError::NoManager)?;
        let issued = match self.request(&channel).await {
            // A worker that was away while the root was rotated doesn't know the new one.
            Err(CaError::Untrusted(_)) if self.materials.identity().role == Role::Worker => {
                self.adopt_root(channel).await?;
                let channel = managers(&self.materials).ok_or(CaError::NoManager)?;
                self.request(&channel).await?
            }
            other => other?,
        };
        let becomes_manager = issued.certificate.identity().role == Role::Manager
            && self.materials.identity().role == Role::Worker;
        let lock = if becomes_manager {
            let materials = issued.materials(&self.materials.root())?;
            cluster_lock(managers(&materials).ok_or(CaError::NoManager)?).await?
        } else {
            self.files.lock()
        };
        issued.save(&self.files, lock)?;
        self.materials.replace_certificate(issued.certificate)?;
        let identity = self.materials.identity();
        info!(node.id = identity.node_id, node.role = %identity.role, "certificate renewed");
        Ok(())
    }

    async fn request(&self, channel: &Channel) -> Result<IssuedCertificate, CaError> {
        request_certificate(channel.clone(), &self.materials.root(), &CertificateRequest::default())
            .await
    }

    async fn adopt_root(&self, channel: Channel) -> Result<(), CaError> {
        let root = fetch_root(channel).await?;
        self.materials.replace_root(root.clone())?;
        self.files.save_root(&root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renews_between_half_and_four_fifths() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let validity = Validity { not_before: start, not_after: start + Duration::from_secs(1000) };
        let (idle, asked) = (RenewalClock::default(), RenewalClock { failures: 0, forced: true });
        let failed = |failures| RenewalClock { failures, forced: false };
        for (clock, age, chance, expect) in [
            (idle, 0, 0.0, 500),
            (idle, 0, 1.0, 800),
            (idle, 100, 0.5, 550),
            (idle, 900, 0.5, 0),
            (idle, 2000, 0.5, 0),
            (asked, 0, 0.5, 0),
            (failed(1), 0, 0.5, 5),
            (failed(2), 2000, 0.5, 10),
            (failed(99), 2000, 0.5, 3600),
        ] {
            let delay = clock.delay(validity, start + Duration::from_secs(age), chance);
            assert_eq!(delay.as_secs_f64().round() as u64, expect, "{clock:?} at {age}");
        }
    }
}
