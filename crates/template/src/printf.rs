//! `printf`: Go's verbs for texts, numbers and truths, with width, precision and the flags `-` and `0`.

use crate::value::Value;

/// Widths beyond this are refused by being ignored: Go has the same bound.
const WIDTH_MAX: usize = 1000;

/// Formats like `fmt.Sprintf`, complaints about verbs and arguments included.
pub(crate) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut printed = String::new();
    let mut arguments_left = arguments.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        printed.push_str(&rest[..at]);
        let (directive, verb, tail) = directive(&rest[at + 1..]);
        rest = tail;
        match (verb, arguments_left.as_slice().first()) {
            (None, _) => printed.push_str("%!(NOVERB)"),
            (Some('%'), _) => printed.push('%'),
            (Some(verb), None) => printed.push_str(&format!("%!{verb}(MISSING)")),
            (Some(verb), Some(value)) => {
                arguments_left.next();
                printed.push_str(&directive.pad(verb, &directive.show(verb, value)));
            }
        }
    }
    printed.push_str(rest);
    let extra = arguments_left.as_slice();
    if !extra.is_empty() {
        let shown: Vec<String> =
            extra.iter().map(|value| format!("{}={}", value.kind(), value.print())).collect();
        printed.push_str(&format!("%!(EXTRA {})", shown.join(", ")));
    }
    printed
}

#[derive(Default)]
struct Directive {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

/// What stands between `%` and its verb, the verb, and what follows.
fn directive(text: &str) -> (Directive, Option<char>, &str) {
    let mut directive = Directive::default();
    let verb_at = text.find(|c: char| !matches!(c, '-' | '+' | ' ' | '#' | '.' | '0'..='9'));
    let (spec, tail) = text.split_at(verb_at.unwrap_or(text.len()));
    let flags = spec.len() - spec.trim_start_matches(['-', '+', ' ', '#', '0']).len();
    directive.left = spec[..flags].contains('-');
    directive.zeros = spec[..flags].contains('0') && !directive.left;
    let (width, precision) = match spec[flags..].split_once('.') {
        Some((width, precision)) => (width, Some(precision)),
        None => (&spec[flags..], None),
    };
    let bounded = |digits: &str| digits.parse::<usize>().ok().filter(|n| *n <= WIDTH_MAX);
    directive.width = bounded(width).unwrap_or(0);
    directive.precision = precision.map(|digits| bounded(digits).unwrap_or(0));
    let mut tail = tail.chars();
    let verb = tail.next();
    (directive, verb, tail.as_str())
}

impl Directive {
    fn show(&self, verb: char, value: &Value) -> String {
        let text = match (verb, value) {
            ('v' | 's', Value::Text(text)) => text.clone(),
            ('q', Value::Text(text)) => format!("{text:?}"),
            ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('v' | 'd', Value::Int(number)) => return number.to_string(),
            ('x', Value::Int(number)) => return format!("{number:x}"),
            ('o', Value::Int(number)) => return format!("{number:o}"),
            ('b', Value::Int(number)) => return format!("{number:b}"),
            ('f', Value::Float(number)) => {
                return format!("{number:.*}", self.precision.unwrap_or(6));
            }
            ('v' | 'g', Value::Float(number)) => return number.to_string(),
            ('v' | 't', Value::Bool(truth)) => return truth.to_string(),
            ('v' | 's', Value::Map(_) | Value::Struct(..)) => return value.print(),
            ('v', Value::Nil) => return "<nil>".to_owned(),
            _ => return format!("%!{verb}({}={})", value.kind(), value.print()),
        };
        match self.precision {
            Some(precision) if verb != 'x' => text.chars().take(precision).collect(),
            _ => text,
        }
    }

    fn pad(&self, verb: char, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.left, self.zeros && verb != 'q') {
            (true, _) => format!("{text}{}", " ".repeat(missing)),
            (false, true) => match text.strip_prefix('-') {
                Some(digits) => format!("-{}{digits}", "0".repeat(missing)),
                None => format!("{}{text}", "0".repeat(missing)),
            },
            (false, false) => format!("{}{text}", " ".repeat(missing)),
        }
    }
}
