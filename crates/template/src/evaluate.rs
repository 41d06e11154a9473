//! Runs a parsed template. Mirrors Go's `text/template` (exec.go), with `missingkey=error`.

use crate::lexer::line;
use crate::tree::{Base, Node, Operand, Pipeline};
use crate::value::Value;
use crate::{Error, OUTPUT_BYTES_MAX, STEPS_MAX, functions};

/// What a list of nodes leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// The state of one expansion.
pub(crate) struct Evaluator<'a> {
    text: &'a str,
    output: String,
    variables: Vec<(String, Value)>,
    steps: usize,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(text: &'a str, root: Value) -> Self {
        Self { text, output: String::new(), variables: vec![("$".to_owned(), root)], steps: 0 }
    }

    /// The expanded text.
    pub(crate) fn run(mut self, nodes: &[Node]) -> Result<String, Error> {
        let root = self.variables[0].1.clone();
        self.list(nodes, &root)?;
        Ok(self.output)
    }

    fn fail(&self, operand: &Operand, what: impl Into<String>) -> Error {
        let before = &self.text[..operand.at];
        Error::Execute {
            line: line(self.text, operand.at),
            column: operand.at - before.rfind('\n').map_or(0, |at| at + 1),
            node: self.text[operand.start..operand.end].to_owned(),
            what: what.into(),
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.output.len() > OUTPUT_BYTES_MAX {
            let line = line(self.text, self.text.len());
            return Err(Error::Parse { line, what: "the template expands to too much".to_owned() });
        }
        Ok(())
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Error> {
        let scope = self.variables.len();
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                self.variables.truncate(scope);
                return Ok(flow);
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Error> {
        self.step()?;
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.output.push_str(&value.print());
                }
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::If { condition: head, then, otherwise }
            | Node::With { value: head, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(head, dot)?;
                let is_with = matches!(node, Node::With { .. });
                let flow = match value.is_true() {
                    true if is_with => self.list(then, &value),
                    true => self.list(then, dot),
                    false => self.list(otherwise, dot),
                };
                self.variables.truncate(scope);
                return flow;
            }
            Node::Range { over, body, otherwise } => {
                return self.range(over, body, otherwise, dot);
            }
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, Error> {
        let scope = self.variables.len();
        let value = self.pipeline(over, dot)?;
        self.variables.truncate(scope);
        let map = match value {
            Value::Map(map) => map,
            Value::Nil => return self.list(otherwise, dot),
            other => {
                let what = format!("range can't iterate over {}", other.print());
                return Err(self.fail(&over.commands[0][0], what));
            }
        };
        if map.is_empty() {
            return self.list(otherwise, dot);
        }
        for (key, value) in map {
            let (key, value) = (Value::Text(key), Value::Text(value));
            match over.variables.as_slice() {
                [only] => self.variables.push((only.clone(), value.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), value.clone()));
                }
                _ => {}
            }
            let flow = self.list(body, &value)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                Some(known) if pipeline.assigns => known.1 = value.clone(),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Error> {
        let (first, rest) = command.split_first().expect("the parser refuses empty commands");
        let Base::Function(name) = &first.base else {
            if !rest.is_empty() || piped.is_some() {
                return Err(match &first.base {
                    Base::Dot | Base::Variable(_) if !first.fields.is_empty() => {
                        let name = first.fields.last().map_or("", String::as_str);
                        self.fail(
                            first,
                            format!("{name} has arguments but cannot be invoked as function"),
                        )
                    }
                    _ => self.fail(
                        first,
                        format!("can't give argument to non-function {}", self.shown(first)),
                    ),
                });
            }
            if first.base == Base::Nil {
                return Err(self.fail(first, "nil is not a command"));
            }
            return self.operand(first, dot);
        };
        // `and` and `or` look at no more than they need.
        let mut arguments = Vec::new();
        for operand in rest {
            let value = self.operand(operand, dot)?;
            let decided = match name.as_str() {
                "and" => !value.is_true(),
                "or" => value.is_true(),
                _ => false,
            };
            if decided {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        let called = functions::call(name, &arguments);
        let value = called.map_err(|what| self.fail(first, what))?;
        self.fields(first, value)
    }

    fn shown(&self, operand: &Operand) -> &str {
        &self.text[operand.start..operand.end]
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Error> {
        self.step()?;
        let base = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Nil => Value::Nil,
            Base::Bool(truth) => Value::Bool(*truth),
            Base::Int(number) => Value::Int(*number),
            Base::Float(number) => Value::Float(*number),
            Base::Text(text) => Value::Text(text.clone()),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or(Value::Nil, |(_, value)| value.clone())
            }
            Base::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Function(name) => {
                functions::call(name, &[]).map_err(|what| self.fail(operand, what))?
            }
        };
        self.fields(operand, base)
    }

    fn fields(&self, operand: &Operand, mut value: Value) -> Result<Value, Error> {
        for name in &operand.fields {
            value = value.field(name).map_err(|what| self.fail(operand, what))?;
        }
        Ok(value)
    }
}
