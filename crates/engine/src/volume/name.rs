//! Volume names: Docker's rule, which also keeps them inside of the store's folder.

use crate::error::{Error, Result};

/// Docker's pattern, as its message quotes it.
const ALLOWED: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

/// Checks a name that a user gave.
pub(super) fn validate(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(refused(
            name,
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && name.len() <= NAME_LEN_MAX
    {
        return Ok(());
    }
    let why = format!(
        "\"{name}\" includes invalid characters for a local volume name, only \"{ALLOWED}\" are allowed. \
         If you intended to pass a host directory, use absolute path"
    );
    Err(refused(name, &why))
}

/// The longest file name of Linux file systems.
const NAME_LEN_MAX: usize = 255;

fn refused(name: &str, why: &str) -> Error {
    Error::invalid(format!("create {name}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for name in ["ab", "A1", "data_1.x-y", &"a".repeat(255)] {
            assert!(validate(name).is_ok(), "{name}");
        }
        for name in
            ["", "..", ".hidden", "-x", "a/b", "a b", "../x", "a\0b", "é1", &"a".repeat(256)]
        {
            let message = validate(name).expect_err(name).to_string();
            assert!(
                message.starts_with(&format!("create {name}: \"{name}\" includes invalid")),
                "{message}"
            );
        }
        let message = validate("a").expect_err("short").to_string();
        assert_eq!(
            message,
            "create a: volume name is too short, names should be at least two alphanumeric characters"
        );
    }
}
