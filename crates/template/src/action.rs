//! One action of a template, from its words to the tree. Mirrors the pipelines of Go's `text/template/parse`.

use crate::Error;
use crate::functions;
use crate::lexer::{Token, Word, parse_error};
use crate::parser::{DEPTH_MAX, Ending, Parser};
use crate::tree::{Base, Node, Operand, Pipeline};

/// The words of one action on their way into the tree.
pub(crate) struct Line<'p, 'a> {
    pub(crate) parser: &'p mut Parser<'a>,
    pub(crate) words: Vec<Word>,
    pub(crate) next: usize,
}

impl Line<'_, '_> {
    pub(crate) fn peek(&self) -> Option<&Token> {
        self.words.get(self.next).map(|word| &word.token)
    }

    pub(crate) fn skip_spaces(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.next += 1;
        }
    }

    fn fail(&self, what: impl Into<String>) -> Error {
        let at = self.words.get(self.next).or(self.words.last()).map(|word| word.start);
        parse_error(self.parser.text, at.unwrap_or(self.parser.at), what.into())
    }

    fn unexpected(&self, context: &str) -> Error {
        let shown = match self.words.get(self.next) {
            Some(word) => format!("{:?}", &self.parser.text[word.start..word.end]),
            None => "\"}}\"".to_owned(),
        };
        self.fail(format!("unexpected {shown} in {context}"))
    }

    pub(crate) fn expect_end(&mut self, context: &str) -> Result<(), Error> {
        self.skip_spaces();
        if self.next < self.words.len() { Err(self.unexpected(context)) } else { Ok(()) }
    }

    pub(crate) fn node(&mut self, keyword: &str) -> Result<Node, Error> {
        match keyword {
            "if" | "with" | "range" => {
                self.next += 1;
                self.block(keyword)
            }
            "break" | "continue" if self.parser.loops == 0 => {
                Err(self.fail(format!("{{{{{keyword}}}}} outside {{{{range}}}}")))
            }
            "break" | "continue" => {
                self.next += 1;
                self.expect_end(keyword)?;
                Ok(if keyword == "break" { Node::Break } else { Node::Continue })
            }
            "define" | "block" | "template" => {
                Err(self.fail(format!("{{{{{keyword}}}}} is not supported")))
            }
            _ => {
                let pipeline = self.pipeline("command", 0)?;
                self.expect_end("command")?;
                Ok(Node::Action(pipeline))
            }
        }
    }

    /// What follows `if`, `with` or `range`, up to its `end`.
    fn block(&mut self, keyword: &str) -> Result<Node, Error> {
        let scope = self.parser.variables.len();
        let head = self.pipeline(keyword, 0)?;
        self.expect_end(keyword)?;
        self.parser.loops += usize::from(keyword == "range");
        let (then, end) = self.parser.list()?;
        self.parser.loops -= usize::from(keyword == "range");
        let otherwise = match end {
            Ending::Text => return Err(self.parser.fail("unexpected EOF")),
            Ending::End => Vec::new(),
            Ending::Else(words, next) => self.otherwise(keyword, words, next)?,
        };
        self.parser.variables.truncate(scope);
        Ok(match keyword {
            "if" => Node::If { condition: head, then, otherwise },
            "with" => Node::With { value: head, then, otherwise },
            _ => Node::Range { over: head, body: then, otherwise },
        })
    }

    /// What follows `else`: a list, or the same kind of block again.
    fn otherwise(
        &mut self,
        keyword: &str,
        words: Vec<Word>,
        next: usize,
    ) -> Result<Vec<Node>, Error> {
        let mut line = Line { parser: &mut *self.parser, words, next };
        let again = match line.peek() {
            Some(Token::Word(word)) => word == keyword && keyword != "range",
            _ => false,
        };
        if again {
            line.next += 1;
            line.parser.depth += 1;
            if line.parser.depth > DEPTH_MAX {
                return Err(line.fail("the template is nested too deeply"));
            }
            let node = line.block(keyword)?;
            self.parser.depth -= 1;
            return Ok(vec![node]);
        }
        line.expect_end("else")?;
        match self.parser.list()? {
            (nodes, Ending::End) => Ok(nodes),
            (_, Ending::Else(..)) => Err(self.parser.fail("expected end; found {{else}}")),
            (_, Ending::Text) => Err(self.parser.fail("unexpected EOF")),
        }
    }

    fn pipeline(&mut self, context: &str, depth: usize) -> Result<Pipeline, Error> {
        if depth > DEPTH_MAX {
            return Err(self.fail("the template is nested too deeply"));
        }
        let (variables, assigns) = self.variables(context)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(context, depth)?;
            if command.is_empty() {
                return Err(match commands.is_empty() {
                    true => self.fail(format!("missing value for {context}")),
                    false => self.unexpected("operand"),
                });
            }
            commands.push(command);
            if self.peek() != Some(&Token::Pipe) {
                break;
            }
            self.next += 1;
        }
        for variable in variables.iter().filter(|_| !assigns) {
            self.parser.variables.push(variable.clone());
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$x =` or, in a range, `$key, $value :=` at the beginning.
    fn variables(&mut self, context: &str) -> Result<(Vec<String>, bool), Error> {
        let mark = self.next;
        let mut names = Vec::new();
        loop {
            self.skip_spaces();
            let Some(Token::Variable(name)) = self.peek() else { break };
            names.push(name.clone());
            self.next += 1;
            self.skip_spaces();
            match self.peek() {
                Some(Token::Comma) if context == "range" && names.len() == 1 => self.next += 1,
                Some(Token::Comma) => {
                    return Err(self.fail(format!("too many declarations in {context}")));
                }
                Some(Token::Declare) => {
                    self.next += 1;
                    return Ok((names, false));
                }
                Some(Token::Assign) => {
                    self.next += 1;
                    let known = |name: &String| self.parser.variables.contains(name);
                    return match names.iter().find(|name| !known(name)) {
                        Some(name) => Err(self.fail(format!("undefined variable {name:?}"))),
                        None => Ok((names, true)),
                    };
                }
                _ => break,
            }
        }
        self.next = mark;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str, depth: usize) -> Result<Vec<Operand>, Error> {
        let mut operands = Vec::new();
        loop {
            self.skip_spaces();
            match self.peek() {
                None | Some(Token::Pipe | Token::Close) => return Ok(operands),
                Some(_) => operands.push(self.operand(context, depth)?),
            }
            match self.peek() {
                None | Some(Token::Space | Token::Pipe | Token::Close) => {}
                Some(_) => return Err(self.unexpected("operand")),
            }
        }
    }

    fn operand(&mut self, context: &str, depth: usize) -> Result<Operand, Error> {
        let Some(word) = self.words.get(self.next).cloned() else {
            return Err(self.unexpected(context));
        };
        self.next += 1;
        let mut fields = Vec::new();
        let base = match word.token {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            Token::Text(text) => Base::Text(text),
            Token::Int(number) => Base::Int(number),
            Token::Float(number) => Base::Float(number),
            Token::Variable(name) if self.parser.variables.contains(&name) => Base::Variable(name),
            Token::Variable(name) => {
                self.next -= 1;
                return Err(self.fail(format!("undefined variable {name:?}")));
            }
            Token::Word(name) => match name.as_str() {
                "true" | "false" => Base::Bool(name == "true"),
                "nil" => Base::Nil,
                name if functions::exists(name) => Base::Function(name.to_owned()),
                name => {
                    self.next -= 1;
                    return Err(self.fail(format!("function {name:?} not defined")));
                }
            },
            Token::Open => {
                let inner = self.pipeline("parenthesized pipeline", depth + 1)?;
                if self.peek() != Some(&Token::Close) {
                    return Err(self.fail("unclosed left paren"));
                }
                self.next += 1;
                Base::Pipeline(Box::new(inner))
            }
            _ => {
                self.next -= 1;
                return Err(self.unexpected(context));
            }
        };
        let (mut at, mut end) = (word.start, self.words[self.next - 1].end);
        while let Some(Token::Field(name)) = self.peek().cloned() {
            // As in Go, a chain of fields is found at its second.
            if fields.len() < 2 {
                at = self.words[self.next].start;
            }
            fields.push(name);
            end = self.words[self.next].end;
            self.next += 1;
        }
        if !fields.is_empty() && matches!(base, Base::Text(_) | Base::Int(_) | Base::Float(_)) {
            return Err(self.fail(format!(
                "unexpected . after term {:?}",
                &self.parser.text[word.start..word.end]
            )));
        }
        Ok(Operand { base, fields, at, start: word.start, end })
    }
}
