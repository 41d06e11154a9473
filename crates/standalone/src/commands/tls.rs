//! The TLS flags of `swarm manage`.

use super::flags::Given;
use crate::tls::{Tls, TlsFiles};

/// What the flags ask for, checked in the original's order and words; none without TLS.
pub(super) fn load(given: &Given) -> Result<Option<Tls>, String> {
    let refused = |text: &str| Err(text.to_owned());
    let is_verified = given.is_on("tlsverify");
    if !given.is_on("tls") && !is_verified {
        return match ["tlscert", "tlskey", "tlscacert"].iter().any(|name| given.has(name)) {
            true => refused(
                "--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify",
            ),
            false => Ok(None),
        };
    }
    let path = |name: &str| given.list(name).last().map(Into::into);
    let (Some(cert), Some(key)) = (path("tlscert"), path("tlskey")) else {
        return refused("--tlscert and --tlskey must be provided when using --tls");
    };
    let ca = path("tlscacert").filter(|_| is_verified);
    if is_verified && ca.is_none() {
        return refused("--tlscacert must be provided when using --tlsverify");
    }
    Tls::load(&TlsFiles { cert, key, ca }).map(Some).map_err(|error| error.to_string())
}
