//! Identifiers as SwarmKit makes them: 25 characters of base 36, from 128 random bits.
//!
//! Mirrors SwarmKit's package `identity`. Pure rooms take their identifiers from a source that is handed in; only
//! drivers call [`new_id`].

use std::fmt::Write as _;

/// How many characters an identifier has.
pub const ID_LENGTH: usize = 25;

/// A source of fresh identifiers; the simulation hands in a seeded one.
pub type IdSource = Box<dyn FnMut() -> String + Send>;

/// A new random identifier.
///
/// # Panics
/// When the kernel's random source cannot be read, without which no identifier would be unique.
pub fn new_id() -> String {
    format_id(rand::random())
}

/// Writes 128 bits as an identifier. The top bit is cleared, which keeps the length at 25 characters.
pub fn format_id(bits: u128) -> String {
    let mut rest = bits >> 1;
    let mut digits = [b'0'; ID_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit((rest % 36) as u32, 36).map_or(b'0', |c| c as u8);
        rest /= 36;
    }
    let mut text = String::with_capacity(ID_LENGTH);
    for digit in digits {
        // Writing to a string cannot fail.
        let _ = text.write_char(char::from(digit));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_to_fixed_length() {
        for (bits, expect) in [
            (0, "0000000000000000000000000"),
            (72, "0000000000000000000000010"),
            (u128::MAX, "7ksyyizzkutudzbv8aqztecjj"),
        ] {
            assert_eq!(format_id(bits), expect);
        }
    }

    #[test]
    fn new_ids_differ() {
        assert_ne!(new_id(), new_id());
        assert_eq!(new_id().len(), ID_LENGTH);
    }
}
