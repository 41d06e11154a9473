//! Templates in a service's environment, hostname and mounts: `{{.Node.Hostname}}`, `{{.Task.Slot}}` and the like.
//!
//! Managers expand a specification to check it, agents to run a task. The language is that of Go's `text/template`, as
//! far as text, fields, variables, conditions, loops over maps and functions go; definitions of further templates are
//! refused. Errors read as Go's. Pure, and bounded: a template ends after [`STEPS_MAX`] steps. Mirrors SwarmKit's
//! package `template`.

mod action;
mod container;
mod evaluate;
mod functions;
mod lexer;
mod parser;
mod printf;
mod tree;
mod value;

use std::collections::BTreeMap;

pub use container::expand_container;
use evaluate::Evaluator;
use value::Value;

/// Steps (nodes and operands) that the expansion of one text may take; a loop over labels takes some for each.
const STEPS_MAX: usize = 100_000;
/// Bytes that one text may expand to.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What templates can name.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `.Service.ID`
    pub service_id: String,
    /// `.Service.Name`
    pub service_name: String,
    /// `.Service.Labels`
    pub service_labels: BTreeMap<String, String>,
    /// `.Node.ID`
    pub node_id: String,
    /// `.Node.Hostname`
    pub node_hostname: String,
    /// `.Node.Platform.OS`
    pub os: String,
    /// `.Node.Platform.Architecture`
    pub architecture: String,
    /// `.Task.ID`
    pub task_id: String,
    /// `.Task.Name`
    pub task_name: String,
    /// `.Task.Slot`; the node's ID for a task without a slot.
    pub task_slot: String,
}

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template is malformed.
    #[error("template: expansion:{line}: {what}")]
    Parse {
        /// Line in the text, from 1.
        line: usize,
        /// What is wrong, in Go's words.
        what: String,
    },
    /// The template asks for what there is not.
    #[error("template: expansion:{line}:{column}: executing \"expansion\" at <{node}>: {what}")]
    Execute {
        /// Line in the text, from 1.
        line: usize,
        /// Byte in the line, from 0.
        column: usize,
        /// The part of the template.
        node: String,
        /// What is wrong, in Go's words.
        what: String,
    },
    /// A part of a specification could not be expanded.
    #[error("{what}: {cause}")]
    Part {
        /// Which part.
        what: String,
        /// Why.
        cause: Box<Error>,
    },
}

impl Error {
    /// Says which part of a specification an error is about.
    fn of(self, what: impl Into<String>) -> Self {
        Self::Part { what: what.into(), cause: Box::new(self) }
    }
}

impl Context {
    /// Expands a text.
    ///
    /// # Errors
    /// Go's message where the template is malformed or names what there is not.
    pub fn expand(&self, text: &str) -> Result<String, Error> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let nodes = parser::parse(text)?;
        Evaluator::new(text, self.root()).run(&nodes)
    }

    fn root(&self) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let platform = vec![("Architecture", text(&self.architecture)), ("OS", text(&self.os))];
        let service = vec![
            ("ID", text(&self.service_id)),
            ("Name", text(&self.service_name)),
            ("Labels", Value::Map(self.service_labels.clone())),
        ];
        let node = vec![
            ("ID", text(&self.node_id)),
            ("Hostname", text(&self.node_hostname)),
            ("Platform", Value::Struct("template.Platform", platform)),
        ];
        let task = vec![
            ("ID", text(&self.task_id)),
            ("Name", text(&self.task_name)),
            ("Slot", text(&self.task_slot)),
        ];
        let fields = vec![
            (
                "Service",
                Value::Struct(
                    "struct { ID string; Name string; Labels map[string]string }",
                    service,
                ),
            ),
            (
                "Node",
                Value::Struct(
                    "struct { ID string; Hostname string; Platform template.Platform }",
                    node,
                ),
            ),
            ("Task", Value::Struct("struct { ID string; Name string; Slot string }", task)),
        ];
        Value::Struct("*template.Context", fields)
    }
}

#[cfg(test)]
mod tests;
