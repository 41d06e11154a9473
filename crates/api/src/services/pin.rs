//! Pins a service's image to its digest, so that every node runs the same one.
//!
//! Only for API versions before 1.30: later clients ask `/distribution` themselves and send a pinned image. The
//! registry gets a short time: a service must not wait for a network that drops packets.

use std::time::Duration;

use crate::state::ApiState;

/// A registry that has not answered by then counts as out of reach.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The image by digest, or the warning that it could not be found out.
pub(super) async fn pin(
    state: &ApiState,
    image: &str,
    encoded_auth: &str,
) -> Result<String, String> {
    if image.contains('@') {
        return Ok(image.to_owned());
    }
    let lookup = state.engine.distribution(image, encoded_auth);
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await;
    let digest = match found {
        Ok(Ok(found)) => found.descriptor.digest,
        Ok(Err(error)) => {
            tracing::warn!(image, %error, "unable to pin image to digest");
            None
        }
        Err(_) => {
            tracing::warn!(image, "unable to pin image to digest: the registry does not answer");
            None
        }
    };
    digest.map(|digest| format!("{}@{digest}", with_tag(image))).ok_or_else(|| warning(image))
}

fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') { image.to_owned() } else { format!("{image}:latest") }
}

fn warning(image: &str) -> String {
    format!(
        "image {image} could not be accessed on a registry to record\nits digest. Each node will access {image} \
         independently,\npossibly leading to different nodes running different\nversions of the image.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for (image, expected) in [
            ("alpine", "alpine:latest"),
            ("alpine:3", "alpine:3"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost:5000/a:1", "localhost:5000/a:1"),
        ] {
            assert_eq!(with_tag(image), expected);
        }
    }
}
