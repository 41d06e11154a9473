//! Whether a text names an image as Docker writes it: `[host[:port]/]path[:tag][@algorithm:digest]`.
//!
//! Mirrors the grammar of the package `distribution/reference`. Nothing is looked up or completed here.

const TAG_LENGTH_MAX: usize = 128;
const NAME_LENGTH_MAX: usize = 255;
const DIGEST_LENGTH_MIN: usize = 32;
/// Exactly so many hexadecimal digits are an image's ID and no name.
const ID_LENGTH: usize = 64;

/// Whether the text is an image reference.
pub(super) fn is_image_reference(text: &str) -> bool {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = split_tag(named);
    is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest) && !is_id(text)
}

/// A colon after the last slash begins a tag; an earlier one belongs to the host's port.
fn split_tag(named: &str) -> (&str, Option<&str>) {
    match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    }
}

fn is_name(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((host, path)) if looks_like_host(host) => {
            if !is_host(host) {
                return false;
            }
            path
        }
        _ => name,
    };
    name.len() <= NAME_LENGTH_MAX && path.split('/').all(is_component)
}

/// The first component is a registry's host if it could not be part of a path.
fn looks_like_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(|c| c.is_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) => {
                let is_address = address.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
                return is_address
                    && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |separator: &str| {
        matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|c| c == '-')
    };
    component.starts_with(is_word)
        && component.ends_with(is_word)
        && component.split(is_word).all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= TAG_LENGTH_MAX
        && tag.starts_with(is_word)
        && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, value)) = digest.split_once(':') else { return false };
    let is_algorithm = algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
        && algorithm
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-' | '_'));
    let is_value = value.len() >= DIGEST_LENGTH_MIN && value.chars().all(|c| c.is_ascii_hexdigit());
    is_algorithm && is_value && (algorithm != "sha256" || value.len() == ID_LENGTH)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_references() {
        let digest = format!("alpine@sha256:{}", "0f".repeat(32));
        let tagged = format!("host:5000/a/b:1.2@sha256:{}", "0f".repeat(32));
        for good in [
            "alpine",
            "alpine:latest",
            "library/alpine:3.18",
            "localhost/app",
            "localhost:5000/app:v1",
            "registry.example.com/team/app",
            "a_b/c__d/e-f--g.h",
            "app:V_1.0-rc",
            "Host/app",
            "[::1]:5000/app",
            digest.as_str(),
            tagged.as_str(),
        ] {
            assert!(is_image_reference(good), "{good}");
        }
        let id = "0f".repeat(32);
        for bad in [
            "",
            ":tag",
            "Alpine",
            "alpine:",
            "alpine:-x",
            "a//b",
            "/a",
            "a/",
            "a___b",
            "a..b",
            "-a",
            "a b",
            "alpine@sha256:12",
            "alpine@",
            "host:port/app",
            "ho_st.x/",
            id.as_str(),
        ] {
            assert!(!is_image_reference(bad), "{bad}");
        }
    }
}
