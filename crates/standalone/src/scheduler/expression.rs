//! Expressions by which a container chooses its engine: `region==us*`, `image!=~redis`, `node==/web[0-9]/`.
//!
//! Mirrors docker/swarm's `scheduler/filter/expr.go`. There a glob was a regular expression in disguise, so that
//! `node==a.b` found `axb`; here only `*` has a meaning. A value of one `/` brought the original down; here it is a name.

use regex::Regex;
use thiserror::Error;

/// What was written is no expression.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ExpressionError {
    #[error("Key '{0}' is invalid")]
    Key(String),
    #[error("Value '{0}' is invalid")]
    Value(String),
    #[error("One of operator ==, != is expected")]
    Operator,
}

/// How a key is to relate to the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
}

impl Operator {
    const ALL: [(Self, &str); 2] = [(Self::Equal, "=="), (Self::NotEqual, "!=")];

    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

/// What a value matches.
#[derive(Debug, Clone)]
enum Pattern {
    /// Parts between asterisks.
    Glob(Vec<String>),
    /// None where it is not one: matches nothing.
    Regex(Option<Regex>),
}

/// One expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    pub(crate) key: String,
    pub(crate) operator: Operator,
    /// As it was written, without the mark of a soft one.
    pub(crate) value: String,
    /// Whether it is only a wish.
    pub(crate) is_soft: bool,
    pattern: Pattern,
}

impl Expression {
    /// Reads `key==value` or `key!=value`.
    ///
    /// # Errors
    /// [`ExpressionError`], in the original's words.
    pub(crate) fn parse(text: &str) -> Result<Self, ExpressionError> {
        let found = Operator::ALL.iter().find_map(|(operator, symbol)| {
            text.split_once(symbol).map(|(key, value)| (*operator, key, value))
        });
        let (operator, key, value) = found.ok_or(ExpressionError::Operator)?;
        if !is_key(key) {
            return Err(ExpressionError::Key(key.to_owned()));
        }
        if !is_value(value) {
            return Err(ExpressionError::Value(value.to_owned()));
        }
        let (is_soft, value) = match value.strip_prefix('~') {
            Some(value) => (true, value),
            None => (false, value),
        };
        let pattern = Pattern::of(value);
        Ok(Self { key: key.to_owned(), operator, value: value.to_owned(), is_soft, pattern })
    }

    /// Reads several, in their order.
    ///
    /// # Errors
    /// That of the first that is none.
    pub(crate) fn parse_all<'a>(
        texts: impl IntoIterator<Item = &'a String>,
    ) -> Result<Vec<Self>, ExpressionError> {
        texts.into_iter().map(|text| Self::parse(text)).collect()
    }

    /// Whether it holds for somebody who has these candidates under its key: one of them is to match, or none.
    pub(crate) fn holds<'a>(&self, candidates: impl IntoIterator<Item = &'a str>) -> bool {
        let is_found = candidates.into_iter().any(|candidate| self.pattern.matches(candidate));
        is_found == (self.operator == Operator::Equal)
    }

    /// `key==value`, as refusals list it.
    pub(crate) fn condition(&self) -> String {
        format!("{}{}{}", self.key, self.operator.as_str(), self.value)
    }

    /// The same, telling whether it is soft.
    pub(crate) fn soft_condition(&self) -> String {
        format!("{} (soft={})", self.condition(), self.is_soft)
    }
}

impl Pattern {
    fn of(value: &str) -> Self {
        let between = value.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        match between {
            Some(regex) => {
                let compiled = Regex::new(regex);
                if let Err(error) = &compiled {
                    tracing::error!(%error, regex, "not a regular expression, so nothing matches it");
                }
                Self::Regex(compiled.ok())
            }
            None => Self::Glob(value.split('*').map(str::to_owned).collect()),
        }
    }

    fn matches(&self, candidate: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.as_ref().is_some_and(|regex| regex.is_match(candidate)),
            Self::Glob(parts) => glob(parts, candidate),
        }
    }
}

/// Whether the parts occur one after the other, the first at the begin and the last at the end.
fn glob(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

fn is_key(key: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_other = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut characters = key.chars();
    key.len() >= 2 && characters.next().is_some_and(is_first) && characters.all(is_other)
}

/// The original's `^(?i)[=!\/]?(~)?[a-z0-9:\-_\s\.\*/\(\)\?\+\[\]\\\^\$\|]+$`.
fn is_value(value: &str) -> bool {
    let is_plain = |c: char| {
        c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || r":-_.*/()?+[]\^$|".contains(c)
    };
    let unmarked = value.strip_prefix(['=', '!', '/']).unwrap_or(value);
    let softened = |text: &str| {
        let text = text.strip_prefix('~').unwrap_or(text);
        !text.is_empty() && text.chars().all(is_plain)
    };
    softened(unmarked) || softened(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_or_refused() {
        use ExpressionError::{Key, Operator, Value};
        for (text, expect) in [
            ("node==web", Ok("node==web (soft=false)")),
            ("node==~web*", Ok("node==web* (soft=true)")),
            ("region!=us*", Ok("region!=us* (soft=false)")),
            ("node==/(?i)node1/", Ok("node==/(?i)node1/ (soft=false)")),
            ("node==~/re/", Ok("node==/re/ (soft=true)")),
            ("image==localhost:5000/test", Ok("image==localhost:5000/test (soft=false)")),
            ("node===x", Ok("node===x (soft=false)")),
            ("node==/", Ok("node==/ (soft=false)")),
            ("com.docker_x-1==a b", Ok("com.docker_x-1==a b (soft=false)")),
            ("node", Err(Operator)),
            ("node=web", Err(Operator)),
            ("==web", Err(Key(String::new()))),
            ("n==web", Err(Key("n".into()))),
            ("1node==web", Err(Key("1node".into()))),
            ("no de==web", Err(Key("no de".into()))),
            ("a!=b==c", Err(Key("a!=b".into()))),
            ("node==", Err(Value(String::new()))),
            ("node==~", Err(Value("~".into()))),
            ("node==~~x", Err(Value("~~x".into()))),
            ("node==a~b", Err(Value("a~b".into()))),
            ("node==a,b", Err(Value("a,b".into()))),
            ("node==a@b", Err(Value("a@b".into()))),
        ] {
            let read = Expression::parse(text).map(|expression| expression.soft_condition());
            assert_eq!(read, expect.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn values_match_names() {
        for (text, candidates, expect) in [
            ("node==web", &["web"][..], true),
            ("node==web", &["web1"], false),
            ("node==web", &["db", "web"], true),
            ("node!=web", &["db", "web"], false),
            ("node!=web", &["db"], true),
            ("node==web", &[], false),
            ("node!=web", &[], true),
            ("node==web*", &["web1"], true),
            ("node==*b", &["web"], true),
            ("node==w*b*1", &["web-b-1"], true),
            ("node==w*b*1", &["web-b-2"], false),
            ("node==a*a", &["a"], false),
            ("node==a*a", &["aa"], true),
            ("node==**", &["x"], true),
            // Only the asterisk has a meaning.
            ("node==a.b", &["axb"], false),
            ("node==x|y", &["x"], false),
            ("node==/node[12]/", &["node1"], true),
            ("node==/node[12]/", &["my-node2b"], true),
            ("node==/node[12]/", &["node3"], false),
            ("node!=/node-[01]/", &["node-0"], false),
            ("node==/(?i)node1/", &["NODE1"], true),
            ("node==/", &["x"], false),
            ("node==/", &["/"], true),
            // Not a regular expression.
            ("node==/(/", &["("], false),
            ("node!=/(/", &["("], true),
        ] {
            let expression = Expression::parse(text).expect("an expression");
            assert_eq!(
                expression.holds(candidates.iter().copied()),
                expect,
                "{text} {candidates:?}"
            );
        }
    }
}
