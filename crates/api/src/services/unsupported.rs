//! What a service may ask for in Docker and cannot have here yet. It is refused, not run without.

use swarm_proto::v1::ContainerSpec;

use crate::error::{ApiError, Class};

/// Refuses a container that no engine of ours could honour.
pub(super) fn check(spec: &ContainerSpec) -> Result<(), ApiError> {
    let asked = [
        (!spec.secrets.is_empty(), "secrets"),
        (!spec.configs.is_empty(), "configs"),
    ];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(ApiError::new(
            Class::NotImplemented,
            format!("{what} of services are not supported yet by this daemon"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{ConfigReference, SecretReference};

    use super::*;

    #[test]
    fn refuses_what_would_silently_be_missing() {
        let secrets = vec![SecretReference::default()];
        let configs = vec![ConfigReference::default()];
        for (spec, expect) in [
            (ContainerSpec::default(), None),
            (ContainerSpec { secrets, ..ContainerSpec::default() }, Some("secrets")),
            (ContainerSpec { configs, ..ContainerSpec::default() }, Some("configs")),
        ] {
            let refused = check(&spec).err().map(|error| error.message);
            let named = refused.as_deref().and_then(|text| {
                text.strip_suffix(" of services are not supported yet by this daemon")
            });
            assert_eq!(named, expect);
        }
    }
}
