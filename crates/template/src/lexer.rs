//! The words of one action, between `{{` and `}}`.

use crate::Error;

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// `if`, `len`, `true`, …
    Word(String),
    /// `.Name`
    Field(String),
    Dot,
    /// `$` or `$name`, with its sign.
    Variable(String),
    Text(String),
    Int(i64),
    Float(f64),
    Pipe,
    Comma,
    Declare,
    Assign,
    Open,
    Close,
    /// Blanks separate arguments from fields of what came before.
    Space,
}

/// A word with where it stands in the whole text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Cuts the action at `start..end` of a template into words.
pub(crate) fn words(text: &str, start: usize, end: usize) -> Result<Vec<Word>, Error> {
    let mut words = Vec::new();
    let mut at = start;
    while let Some(first) = text[at..end].chars().next() {
        let (token, length) = word(text, at, end, first)?;
        words.push(Word { token, start: at, end: at + length });
        at += length;
    }
    Ok(words)
}

fn word(text: &str, at: usize, end: usize, first: char) -> Result<(Token, usize), Error> {
    let rest = &text[at..end];
    let fail = |what: String| Err(parse_error(text, at, what));
    Ok(match first {
        c if c.is_whitespace() => {
            (Token::Space, rest.len() - rest.trim_start_matches(char::is_whitespace).len())
        }
        '|' => (Token::Pipe, 1),
        ',' => (Token::Comma, 1),
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        ':' if rest.starts_with(":=") => (Token::Declare, 2),
        '=' => (Token::Assign, 1),
        '"' => {
            let Some(length) = quoted_length(rest) else {
                return fail("unterminated quoted string".to_owned());
            };
            let Some(value) = unquote(&rest[1..length - 1]) else {
                return fail("invalid syntax".to_owned());
            };
            (Token::Text(value), length)
        }
        '`' => match rest[1..].find('`') {
            Some(length) => (Token::Text(rest[1..=length].to_owned()), length + 2),
            None => return fail("unterminated raw quoted string".to_owned()),
        },
        '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            let length = name_length(&rest[1..]);
            match length {
                0 => (Token::Dot, 1),
                _ => (Token::Field(rest[1..=length].to_owned()), length + 1),
            }
        }
        '$' => {
            let length = 1 + name_length(&rest[1..]);
            (Token::Variable(rest[..length].to_owned()), length)
        }
        c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => return number(text, at, rest),
        c if c == '_' || c.is_alphabetic() => {
            let length = name_length(rest);
            (Token::Word(rest[..length].to_owned()), length)
        }
        c => return fail(format!("unexpected {:?} in command", c.to_string())),
    })
}

/// Length of a name: letters, digits and `_`.
fn name_length(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

fn number(text: &str, at: usize, rest: &str) -> Result<(Token, usize), Error> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
    let digits = rest[..length].replace('_', "");
    let token = digits.parse().map(Token::Int).or_else(|_| digits.parse().map(Token::Float));
    match token {
        Ok(token) => Ok((token, length)),
        Err(_) => Err(parse_error(text, at, format!("bad number syntax: {:?}", &rest[..length]))),
    }
}

/// Length of a quoted string at the beginning, its quotes included.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn unquote(text: &str) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        let digits = match rest.next()? {
            'n' => {
                value.push('\n');
                continue;
            }
            't' => {
                value.push('\t');
                continue;
            }
            'r' => {
                value.push('\r');
                continue;
            }
            c @ ('\\' | '"') => {
                value.push(c);
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let code: String = rest.by_ref().take(digits).collect();
        value.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)?);
    }
    Some(value)
}

/// Where an action ends: the offset of its `}}`, quotes skipped.
pub(crate) fn action_end(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("}}") {
            return Some(at);
        }
        let first = rest.chars().next()?;
        at += match first {
            '"' => quoted_length(rest)?,
            '`' => rest[1..].find('`')? + 2,
            other => other.len_utf8(),
        };
    }
    None
}

/// An error about the text at an offset.
pub(crate) fn parse_error(text: &str, at: usize, what: String) -> Error {
    Error::Parse { line: line(text, at), what }
}

/// The line of an offset, from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}
