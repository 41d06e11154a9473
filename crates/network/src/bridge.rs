//! The default bridge: containers' endpoints on it, their addresses and published ports.
//!
//! An attach plans first (address, ports, under a lock and without touching a container), then makes the kernel so,
//! then records it. What the kernel has and what the state file says is brought in line at [`Bridge::open`] and
//! [`Bridge::restore`]; the rules are always loaded as a whole.

mod book;
mod endpoint;
mod link;
mod state;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::netlink::Netlink;
use crate::nft::{self, Rules};
use crate::{Error, MacAddress, PortMapping, PortRequest, Result, firewall};

use book::Book;
use state::StateFile;

/// How the bridge is to be.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// The interface's name.
    pub name: String,
    /// The bridge's address and subnet; none is the first private range that nothing on the host overlaps.
    pub bip: Option<Ipv4Net>,
    /// Largest packet.
    pub mtu: u32,
    /// Whether containers on the bridge may talk to each other.
    pub icc: bool,
    /// Whether their traffic to elsewhere leaves under the host's address.
    pub ip_masq: bool,
    /// Folder of the state file; made if it is missing.
    pub state_dir: PathBuf,
}

impl BridgeConfig {
    /// Docker's defaults on a bridge named `swarm0`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: "swarm0".into(),
            bip: None,
            mtu: 1500,
            icc: true,
            ip_masq: true,
            state_dir: state_dir.into(),
        }
    }
}

/// A container to connect.
#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    /// The container's ID.
    pub container_id: String,
    /// The container's name, for error texts.
    pub name: String,
    /// Where its network namespace is mounted.
    pub netns: PathBuf,
    /// An address of its own choice.
    pub ipv4: Option<Ipv4Addr>,
    /// An Ethernet address of its own choice.
    pub mac: Option<MacAddress>,
    /// Ports to publish.
    pub ports: Vec<PortRequest>,
}

/// A connected container. Keep it with the container and hand it to [`Bridge::restore`] after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The endpoint's ID, 64 hexadecimal digits.
    pub endpoint_id: String,
    /// The container's address.
    pub ipv4: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix_len: u8,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The container's Ethernet address.
    pub mac: MacAddress,
    /// The interface's name in the container.
    pub interface: String,
    /// The name of its other end on the host.
    pub host_interface: String,
    /// The published ports.
    pub ports: Vec<PortMapping>,
}

/// The default bridge. Clones are the same bridge.
#[derive(Debug, Clone)]
pub struct Bridge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: BridgeConfig,
    subnet: Ipv4Net,
    index: u32,
    netlink: Mutex<Netlink>,
    book: Mutex<Book>,
    state: StateFile,
    /// Generation of the book that the kernel's rules were last made from; held while rules are loaded.
    rules_loaded: tokio::sync::Mutex<u64>,
}

impl Bridge {
    /// Creates the bridge or takes an existing one over, with the endpoints that the state file knows.
    ///
    /// A host without `nft` gets a warning and a bridge on which containers reach each other only.
    pub async fn open(config: BridgeConfig) -> Result<Self> {
        let bridge = blocking(move || Self::set_up(config)).await?;
        bridge.load_rules_or_warn().await;
        Ok(bridge)
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// The bridge's subnet.
    pub fn subnet(&self) -> Ipv4Net {
        self.inner.subnet.trunc()
    }

    /// The bridge's own address, which is the containers' gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.inner.subnet.addr()
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &BridgeConfig {
        &self.inner.config
    }

    /// All endpoints, by container ID.
    pub fn attachments(&self) -> Vec<(String, Attachment)> {
        self.book().attachments()
    }

    /// Connects a container: an `eth0` with an address and a default route in its namespace, its ports published.
    ///
    /// Either all of it is done or nothing; a caller that drops the future midway calls [`Bridge::detach`].
    pub async fn attach(&self, request: AttachRequest) -> Result<Attachment> {
        let attachment = self.book().plan(&request)?;
        let done = self.connect(&request, attachment.clone()).await;
        if done.is_err()
            && let Err(error) = self.detach(&request.container_id).await
        {
            tracing::warn!(container.id = request.container_id, %error, "cleaning up a failed attach");
        }
        done.map(|()| attachment)
    }

    /// Disconnects a container and frees its address and ports; no error if it is not connected.
    pub async fn detach(&self, container_id: &str) -> Result<()> {
        let Some(attachment) = self.book().remove(container_id) else {
            return Ok(());
        };
        let publishes = !attachment.ports.is_empty();
        let inner = self.inner.clone();
        let deleted = blocking(move || {
            lock(&inner.netlink).delete_link(&attachment.host_interface)?;
            inner.save()
        })
        .await;
        if publishes {
            self.load_rules().await?;
        }
        deleted
    }

    /// After a restart of the daemon: exactly these containers are connected. Others that the state file knew are
    /// disconnected, leftover links are removed, the rules are loaded anew.
    pub async fn restore(&self, attached: &[(String, Attachment)]) -> Result<()> {
        self.book().keep_only(attached);
        let inner = self.inner.clone();
        blocking(move || {
            let keep = lock(&inner.book).host_interfaces();
            endpoint::remove_others(&mut lock(&inner.netlink), inner.index, &keep)?;
            inner.save()
        })
        .await?;
        self.load_rules_or_warn().await;
        Ok(())
    }

    /// Takes the bridge, its rules and its state away. Containers that are still connected lose their network.
    pub async fn destroy(self) -> Result<()> {
        let inner = self.inner;
        blocking(move || {
            let mut netlink = lock(&inner.netlink);
            endpoint::remove_others(&mut netlink, inner.index, &Default::default())?;
            netlink.delete_link(&inner.config.name)?;
            inner.state.delete()?;
            firewall::expel(&inner.config.name)?;
            match nft::delete(&inner.config.name) {
                Err(Error::NftMissing) => Ok(()),
                deleted => deleted,
            }
        })
        .await
    }

    fn set_up(config: BridgeConfig) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let state = StateFile::new(&config.state_dir, &config.name);
        let recorded = state.load()?;
        let (index, subnet) =
            link::ensure(&mut netlink, &config, recorded.as_ref().map(|r| r.subnet))?;
        link::allow_forwarding(&config.name)?;
        let book = Book::new(subnet, recorded);
        let inner = Inner {
            config,
            subnet,
            index,
            netlink: Mutex::new(netlink),
            book: Mutex::new(book),
            state,
            rules_loaded: tokio::sync::Mutex::new(0),
        };
        inner.save()?;
        if let Err(error) = firewall::admit(&inner.config.name) {
            tracing::warn!(bridge = inner.config.name, %error, "another firewall may drop containers' packets");
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn connect(&self, request: &AttachRequest, attachment: Attachment) -> Result<()> {
        let publishes = !attachment.ports.is_empty();
        let inner = self.inner.clone();
        let netns = request.netns.clone();
        blocking(move || {
            let port = endpoint::BridgePort {
                index: inner.index,
                mtu: inner.config.mtu,
                isolated: !inner.config.icc,
            };
            endpoint::connect(&inner.netlink, &port, &netns, &attachment)?;
            inner.save()
        })
        .await?;
        if publishes {
            self.load_rules().await?;
        }
        Ok(())
    }

    /// A bridge without rules still joins containers to each other, and those that run already must be kept.
    async fn load_rules_or_warn(&self) {
        if let Err(error) = self.load_rules().await {
            tracing::warn!(
                bridge = self.name(), %error,
                "containers can't reach outside networks and no port can be published"
            );
        }
    }

    /// Loads the rules for the book as it is now. Callers that come while a load runs share the next one.
    async fn load_rules(&self) -> Result<()> {
        let wanted = self.book().generation();
        let mut loaded = self.inner.rules_loaded.lock().await;
        if *loaded >= wanted {
            return Ok(());
        }
        let (generation, script) = {
            let book = self.book();
            (book.generation(), self.inner.rules(&book).script())
        };
        blocking(move || nft::apply(&script)).await?;
        *loaded = generation;
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.inner.book)
    }
}

impl Inner {
    fn rules(&self, book: &Book) -> Rules {
        Rules {
            bridge: self.config.name.clone(),
            subnet: self.subnet,
            icc: self.config.icc,
            ip_masq: self.config.ip_masq,
            published: book.published(),
        }
    }

    fn save(&self) -> Result<()> {
        self.state.save(|| lock(&self.book).record(self.subnet))
    }
}

/// What a panic left half-done under these locks is at worst a leaked address.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Interrupted),
        },
    }
}
