//! The wire: SwarmKit's messages and services, etcd's Raft messages, and the channel type that clients are built on.
//!
//! Everything here is generated from `proto/*.proto` but for the few helpers that every room needs: identifiers,
//! timestamps, the type-erased [`Channel`], the calls' codec and [`Shared`] messages. No behaviour lives here. Mirrors
//! SwarmKit's package `api`.

pub mod channel;
pub mod codec;
pub mod id;
pub mod shared;
pub mod timestamp;

pub use channel::Channel;
pub use shared::Shared;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated from the .proto files, which carry the documentation"
)]
mod docker {
    pub mod swarmkit {
        pub mod v1 {
            tonic::include_proto!("docker.swarmkit.v1");
        }
    }
}

/// SwarmKit's protocol, package `docker.swarmkit.v1`.
pub use docker::swarmkit::v1;

/// The messages of etcd's Raft, package `raftpb`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated from the .proto files, which carry the documentation"
)]
pub mod raftpb {
    tonic::include_proto!("raftpb");
}
