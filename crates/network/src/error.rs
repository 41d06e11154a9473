//! The one error type of the crate: named after what failed, with the text that a Docker user knows where Docker has one.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use crate::ports::PortError;

/// Why an operation on the network failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a netlink request.
    #[error("failed to {operation}")]
    Netlink {
        /// What was asked of the kernel.
        operation: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A network namespace could not be made, entered or removed.
    #[error("failed to {operation} network namespace {}", path.display())]
    Namespace {
        /// What was tried.
        operation: &'static str,
        /// Where the namespace is mounted.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be written.
    #[error("failed to set {}", path.display())]
    Setting {
        /// The file below /proc/sys.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// There is no `nft` command.
    #[error(
        "the nft command was not found: install the package nftables to publish ports and reach outside networks"
    )]
    NftMissing,
    /// `nft` could not be run.
    #[error("failed to run nft")]
    NftRun(#[source] io::Error),
    /// `nft` refused a script.
    #[error("nft refused the rules: {0}")]
    NftRefused(String),
    /// The interface exists and is something else.
    #[error("{0} exists and is not a bridge")]
    NotABridge(String),
    /// No private range is left for the bridge.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    NoFreeSubnet,
    /// A subnet too small for a bridge and a container.
    #[error("the subnet {0} is too small for a bridge")]
    SubnetTooSmall(Ipv4Net),
    /// All addresses of the bridge are in use.
    #[error("no available IPv4 addresses on this network's address pools: {0}")]
    AddressesExhausted(String),
    /// The address asked for is in use.
    #[error("Address already in use")]
    AddressInUse(Ipv4Addr),
    /// The address asked for is not one of the bridge's.
    #[error("invalid address {address}: it does not belong to the subnet {subnet}")]
    AddressOutside {
        /// The address asked for.
        address: Ipv4Addr,
        /// The bridge's subnet.
        subnet: Ipv4Net,
    },
    /// The container has an endpoint already.
    #[error("endpoint for container {0} already exists in network bridge")]
    AlreadyAttached(String),
    /// A port could not be published.
    #[error(
        "driver failed programming external connectivity on endpoint {name} ({endpoint}): {source}"
    )]
    Publish {
        /// The container's name.
        name: String,
        /// The endpoint's ID.
        endpoint: String,
        /// What is wrong with the port.
        source: PortError,
    },
    /// The bridge's state file could not be read or written.
    #[error("failed to {operation} {}", path.display())]
    State {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A task of the runtime was cancelled while the process ends.
    #[error("interrupted: the daemon is shutting down")]
    Interrupted,
}
