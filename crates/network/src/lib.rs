//! What a node does to the kernel's network: namespaces, links, addresses, the default bridge and its rules.
//!
//! The tour: [`netns`] makes a container's namespace, [`Bridge`] connects it and publishes its ports,
//! [`hosts`] and [`resolv`] write the two files that name resolution in a container starts from, and
//! [`addresses`] with [`advertise`] find the address by which other nodes reach this one.
//!
//! Links, addresses and routes go through netlink ([`netlink`]), packet rules through scripts for the `nft`
//! command ([`nft`]). Which address and which port a container gets is decided in [`ipam`] and [`ports`],
//! which touch nothing. Overlay networks are not here.

pub mod addresses;
pub mod advertise;
mod bridge;
mod error;
pub mod firewall;
pub mod hosts;
pub mod ipam;
pub mod mac;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod ports;
pub mod resolv;
pub mod subnet;

pub use bridge::{AttachRequest, Attachment, Bridge, BridgeConfig};
pub use error::Error;
pub use mac::MacAddress;
pub use ports::{HostPort, PortMapping, PortRequest, Protocol};

/// What every operation of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;
