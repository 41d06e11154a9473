//! What objects may be called.

use swarm_proto::v1::Annotations;
use tonic::Status;

/// DNS labels are limited to this.
const DNS_LABEL_LENGTH_MAX: usize = 63;
const SECRET_NAME_LENGTH_MAX: usize = 64;

/// Services and networks are found by DNS, so their names must be labels of it.
pub(super) fn check_dns_name(annotations: Option<&Annotations>) -> Result<(), Status> {
    let name = annotations.map_or("", |annotations| annotations.name.as_str());
    if name.is_empty() {
        return Err(Status::invalid_argument("meta: name must be provided"));
    }
    if !is_made_of(name, |character| matches!(character, '-' | '_')) {
        return Err(Status::invalid_argument("name must be valid as a DNS name component"));
    }
    if name.len() > DNS_LABEL_LENGTH_MAX {
        return Err(Status::invalid_argument("name must be 63 characters or fewer"));
    }
    Ok(())
}

/// Secrets and configs may have dots in their names, as files have.
pub(super) fn check_file_name(annotations: Option<&Annotations>) -> Result<(), Status> {
    let name = annotations.map_or("", |annotations| annotations.name.as_str());
    if name.is_empty() {
        return Err(Status::invalid_argument("name must be provided"));
    }
    if name.len() > SECRET_NAME_LENGTH_MAX
        || !is_made_of(name, |character| matches!(character, '-' | '_' | '.'))
    {
        return Err(Status::invalid_argument(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, \
             and the start and end character must be [a-zA-Z0-9]",
        ));
    }
    Ok(())
}

/// Letters and digits, with what `between` admits anywhere but at the ends.
fn is_made_of(name: &str, between: impl Fn(char) -> bool) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || between(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_names() {
        let long = "a".repeat(64);
        for (name, service, secret) in [
            ("", "meta: name must be provided", "name must be provided"),
            ("web", "", ""),
            ("a-_-b", "", ""),
            ("0", "", ""),
            ("my.conf", "name must be valid as a DNS name component", ""),
            ("-web", "name must be valid as a DNS name component", "invalid name"),
            ("web-", "name must be valid as a DNS name component", "invalid name"),
            ("we b", "name must be valid as a DNS name component", "invalid name"),
            ("wéb", "name must be valid as a DNS name component", "invalid name"),
            (long.as_str(), "name must be 63 characters or fewer", ""),
        ] {
            let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
            let text = |result: Result<(), Status>| {
                result.err().map_or(String::new(), |status| status.message().to_owned())
            };
            assert_eq!(text(check_dns_name(Some(&annotations))), service, "{name}");
            assert!(text(check_file_name(Some(&annotations))).starts_with(secret), "{name}");
            assert_eq!(check_file_name(Some(&annotations)).is_ok(), secret.is_empty(), "{name}");
        }
    }
}
