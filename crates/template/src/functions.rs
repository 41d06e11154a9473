//! The functions that templates can call: Go's, as far as they make sense for texts, and SwarmKit's `join`.

use std::cmp::Ordering;

use crate::printf::printf;
use crate::value::Value;

const NAMES: [&str; 19] = [
    "and", "or", "not", "len", "index", "slice", "print", "println", "printf", "html", "urlquery",
    "eq", "ne", "lt", "le", "gt", "ge", "join", "js",
];

/// Whether there is such a function.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function; the error is what Go says of the call.
pub(crate) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let wrong_number = |wanted: &str| {
        Err(format!("wrong number of args for {name}: want {wanted} got {}", arguments.len()))
    };
    let failed = |error: String| format!("error calling {name}: {error}");
    match (name, arguments) {
        // What decides earlier never gets here.
        ("and" | "or", [.., last]) => Ok(last.clone()),
        ("and" | "or" | "index" | "slice" | "printf" | "eq", []) => wrong_number("at least 1"),
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("len", [value]) => length(value).map_err(failed),
        ("not" | "len", _) => wrong_number("1"),
        ("index", [value, keys @ ..]) => index(value, keys).map_err(failed),
        ("slice", [value, bounds @ ..]) => slice(value, bounds).map_err(failed),
        ("print", _) => Ok(Value::Text(print(arguments))),
        ("println", _) => {
            let words: Vec<String> = arguments.iter().map(Value::print).collect();
            Ok(Value::Text(format!("{}\n", words.join(" "))))
        }
        ("printf", [Value::Text(format), rest @ ..]) => Ok(Value::Text(printf(format, rest))),
        ("printf", [other, ..]) => {
            Err(format!("wrong type for value; expected string; got {}", other.kind()))
        }
        ("html", _) => Ok(Value::Text(html(&print(arguments)))),
        ("js", _) => Ok(Value::Text(js(&print(arguments)))),
        ("urlquery", _) => Ok(Value::Text(url_query(&print(arguments)))),
        ("eq", [_]) => Err(failed("missing argument for comparison".to_owned())),
        ("eq", [first, others @ ..]) => {
            for other in others {
                if equal(first, other).map_err(failed)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("ne", [a, b]) => equal(a, b).map(|same| Value::Bool(!same)).map_err(failed),
        ("lt" | "le" | "gt" | "ge", [a, b]) => {
            let order = compare(a, b).map_err(failed)?;
            Ok(Value::Bool(match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }))
        }
        ("join", words) => join(words),
        _ => wrong_number("2"),
    }
}

/// The first argument stands between the others.
fn join(words: &[Value]) -> Result<Value, String> {
    let mut texts = Vec::new();
    for word in words {
        match word {
            Value::Text(text) => texts.push(text.as_str()),
            other => {
                return Err(format!("wrong type for value; expected string; got {}", other.kind()));
            }
        }
    }
    match texts.split_first() {
        Some((separator, rest)) => Ok(Value::Text(rest.join(separator))),
        None => Err("error calling join: no separator".to_owned()),
    }
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.kind())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// An entry of a map, empty where it is missing, or a byte of a text.
fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(map), Value::Text(key)) => {
                Value::Text(map.get(key).cloned().unwrap_or_default())
            }
            (Value::Map(_), other) => {
                return Err(format!("value has type {}; should be string", other.kind()));
            }
            (Value::Text(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                Value::Int(byte.copied().ok_or_else(|| format!("index out of range: {at}"))?.into())
            }
            (Value::Text(_), other) => {
                return Err(format!("cannot index slice/array with type {}", other.kind()));
            }
            (Value::Nil, _) => return Err("index of untyped nil".to_owned()),
            (other, _) => return Err(format!("can't index item of type {}", other.kind())),
        };
    }
    Ok(value)
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let Value::Text(text) = value else {
        return Err(format!("can't slice item of type {}", value.kind()));
    };
    let mut ends = [0, text.len()];
    if bounds.len() > ends.len() {
        return Err("cannot 3-index slice a string".to_owned());
    }
    for (end, bound) in ends.iter_mut().zip(bounds) {
        let Value::Int(number) = bound else {
            return Err(format!("cannot index slice/array with type {}", bound.kind()));
        };
        let within = usize::try_from(*number).ok().filter(|at| *at <= text.len());
        *end = within.ok_or_else(|| format!("index out of range: {number}"))?;
    }
    if ends[0] > ends[1] {
        return Err(format!("invalid slice index: {} > {}", ends[0], ends[1]));
    }
    Ok(Value::Text(String::from_utf8_lossy(&text.as_bytes()[ends[0]..ends[1]]).into_owned()))
}

/// As `fmt.Sprint`: blanks only between two that are no texts.
fn print(arguments: &[Value]) -> String {
    let mut printed = String::new();
    for (at, value) in arguments.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && !is_text(value) && !is_text(&arguments[at - 1]) {
            printed.push(' ');
        }
        printed.push_str(&value.print());
    }
    printed
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Map(_) | Value::Struct(..), _) | (_, Value::Map(_) | Value::Struct(..)) => {
            Err("non-comparable type".to_owned())
        }
        (Value::Nil, other) | (other, Value::Nil) => Ok(*other == Value::Nil),
        (a, b) if a.kind() == b.kind() => Ok(a == b),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => Ok(a.total_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Int(_) | Value::Float(_) | Value::Text(_), _) => {
            Err("incompatible types for comparison".to_owned())
        }
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => escaped.push('\u{fffd}'),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            other => escaped.push(other),
        }
    }
    escaped
}

fn url_query(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
