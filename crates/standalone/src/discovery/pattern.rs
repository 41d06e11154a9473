//! Many addresses in one: `10.0.0.[11:100]:2375`.

/// Names at most that one pattern stands for; a typing error must not fill the memory.
const NAMES_MAX: usize = 65_536;

/// All that a pattern stands for; a text without a range of numbers stands for itself.
pub(crate) fn expand(text: &str) -> Vec<String> {
    let Some((before, range, after)) = bracketed(text) else { return vec![text.to_owned()] };
    let numbers = range
        .split_once(':')
        .and_then(|(from, to)| Some((from.parse::<i64>().ok()?, to.parse::<i64>().ok()?)));
    let Some((from, to)) = numbers else { return vec![text.to_owned()] };
    (from..=to).take(NAMES_MAX).map(|number| format!("{before}{number}{after}")).collect()
}

/// What is between the first opening bracket and the last closing one, with what is around.
fn bracketed(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('[')?;
    let (range, after) = rest.rsplit_once(']')?;
    Some((before, range, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_numbers_in_brackets() {
        for (text, expect) in [
            ("10.0.0.[1:3]:2375", &["10.0.0.1:2375", "10.0.0.2:2375", "10.0.0.3:2375"][..]),
            ("10.0.0.1:[2:3]375", &["10.0.0.1:2375", "10.0.0.1:3375"]),
            ("node[9:10]:1", &["node9:1", "node10:1"]),
            ("plain:1", &["plain:1"]),
            ("[::1]:2375", &["[::1]:2375"]),
            ("a[1]:1", &["a[1]:1"]),
            ("a[1:b]:1", &["a[1:b]:1"]),
            ("a[3:1]:1", &[]),
        ] {
            assert_eq!(expand(text), expect, "{text}");
        }
        assert_eq!(expand("a[0:99999999999]").len(), NAMES_MAX);
    }
}
