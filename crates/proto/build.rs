//! Compiles the `.proto` files with protox, so that no `protoc` is needed on a fresh machine.

use std::error::Error;

const FILES: [&str; 12] = [
    "swarmkit/types.proto",
    "swarmkit/specs.proto",
    "swarmkit/objects.proto",
    "swarmkit/control.proto",
    "swarmkit/dispatcher.proto",
    "swarmkit/ca.proto",
    "swarmkit/raft.proto",
    "swarmkit/logbroker.proto",
    "swarmkit/resource.proto",
    "swarmkit/health.proto",
    "swarmkit/snapshot.proto",
    "swarmkit/watch.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        // The tasks of a service hold one specification together: most of what a manager keeps would be copies of it.
        .extern_path(
            ".docker.swarmkit.v1.SharedTaskSpec",
            "crate::shared::Shared<crate::v1::TaskSpec>",
        )
        // Of a task, which there are many of, few have these.
        .boxed(".docker.swarmkit.v1.Task.annotations")
        .boxed(".docker.swarmkit.v1.Task.log_driver")
        .boxed(".docker.swarmkit.v1.Task.moved")
        .boxed(".docker.swarmkit.v1.Task.move_failures")
        .boxed(".docker.swarmkit.v1.Task.restart_backoff")
        .codec_path("crate::codec::LeanCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
