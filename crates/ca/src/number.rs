//! Big numbers in base 36, as join tokens carry them. Only what tokens need: bytes to digits and back.

/// The bytes, big-endian, as a number in base 36, padded with zeros to `width`.
pub(crate) fn to_base36(bytes: &[u8], width: usize) -> String {
    let mut rest = bytes.to_vec();
    let mut digits = Vec::with_capacity(width);
    while rest.iter().any(|byte| *byte != 0) {
        let mut remainder = 0u32;
        for byte in &mut rest {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = (value / 36) as u8;
            remainder = value % 36;
        }
        digits.push(char::from_digit(remainder, 36).unwrap_or('0'));
    }
    while digits.len() < width {
        digits.push('0');
    }
    digits.iter().rev().collect()
}

/// A number in base 36 as `N` big-endian bytes; `None` for other characters or a number that does not fit.
pub(crate) fn from_base36<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    for character in text.chars() {
        let mut carry = character.to_digit(36)?;
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * 36 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_base36() {
        for (bytes, text) in [([0u8; 2], "0000"), ([0, 36], "0010"), ([0xff, 0xff], "1ekf")] {
            assert_eq!(to_base36(&bytes, 4), text);
            assert_eq!(from_base36::<2>(text), Some(bytes));
        }
        for bad in ["1ekg", "zzzz", "-1", "a b"] {
            assert_eq!(from_base36::<2>(bad), None, "{bad}");
        }
    }
}
