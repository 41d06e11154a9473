//! What expressions evaluate to, and how Go prints, compares and judges it.

use std::collections::BTreeMap;

/// A value of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Map(BTreeMap<String, String>),
    /// Go's name of the type, and the fields in their order.
    Struct(&'static str, Vec<(&'static str, Value)>),
}

impl Value {
    /// Go's name of its type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Map(_) => "map[string]string",
            Self::Struct(name, _) => name,
        }
    }

    /// Whether `if` takes it for true: not empty, not zero.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Struct(..) => true,
        }
    }

    /// As `fmt.Print` shows it.
    pub(crate) fn print(&self) -> String {
        match self {
            Self::Nil => "<no value>".to_owned(),
            Self::Bool(truth) => truth.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Map(map) => {
                let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                format!("map[{}]", pairs.join(" "))
            }
            Self::Struct(name, fields) => {
                let values: Vec<String> = fields.iter().map(|(_, value)| value.print()).collect();
                let pointer = if name.starts_with('*') { "&" } else { "" };
                format!("{pointer}{{{}}}", values.join(" "))
            }
        }
    }

    /// A field of a struct or an entry of a map.
    pub(crate) fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Struct(kind, fields) => {
                let found = fields.iter().find(|(field, _)| *field == name);
                let missing = || format!("can't evaluate field {name} in type {kind}");
                found.map(|(_, value)| value.clone()).ok_or_else(missing)
            }
            Self::Map(map) => match map.get(name) {
                Some(value) => Ok(Self::Text(value.clone())),
                None => Err(format!("map has no entry for key {name:?}")),
            },
            Self::Nil => Err(format!("nil data; no entry for key {name:?}")),
            other => Err(format!("can't evaluate field {name} in type {}", other.kind())),
        }
    }
}
