//! `swarm create`: made a cluster of the hosted discovery service, which is no more.

use super::{Call, Command, Stop};

pub(super) const COMMAND: Command = Command {
    names: ["create", "c"],
    usage: "Create a cluster",
    flags: &[],
    has_discovery: false,
    run,
};

fn run(call: &Call) -> Result<(), Stop> {
    if !call.given.arguments.is_empty() {
        let message = "the `create` command takes no arguments. See 'swarm create --help'.";
        return Err(Stop::Plain(message.to_owned()));
    }
    Err(Stop::Plain(
        "swarm create asked a hosted service for a token:// that was shut down in 2019; there is nothing to create for \
         the others: use consul://, etcd://, zk://, file:// or nodes:// at once"
            .to_owned(),
    ))
}
