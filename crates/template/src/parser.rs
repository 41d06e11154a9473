//! Templates as trees: texts, and blocks within each other. Mirrors Go's `text/template/parse`.

use crate::Error;
use crate::action::Line;
use crate::lexer::{Token, Word, action_end, parse_error, words};
use crate::tree::Node;

/// Blocks and parentheses within each other; Go's parser has such a bound too.
pub(crate) const DEPTH_MAX: usize = 64;

/// How a list of nodes ended.
#[derive(PartialEq)]
pub(crate) enum Ending {
    Text,
    End,
    Else(Vec<Word>, usize),
}

/// Parses a whole text.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Error> {
    let mut parser = Parser { text, at: 0, variables: vec!["$".to_owned()], depth: 0, loops: 0 };
    match parser.list()? {
        (nodes, Ending::Text) => Ok(nodes),
        (_, Ending::End) => Err(parser.fail("unexpected {{end}}")),
        (_, Ending::Else(..)) => Err(parser.fail("unexpected {{else}}")),
    }
}

pub(crate) struct Parser<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    /// Those in force, outermost first.
    pub(crate) variables: Vec<String>,
    pub(crate) depth: usize,
    pub(crate) loops: usize,
}

impl Parser<'_> {
    pub(crate) fn fail(&self, what: impl Into<String>) -> Error {
        parse_error(self.text, self.at.min(self.text.len()), what.into())
    }

    /// Nodes up to the end of the text or of the block.
    pub(crate) fn list(&mut self) -> Result<(Vec<Node>, Ending), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fail("the template is nested too deeply"));
        }
        let mut nodes = Vec::new();
        let end = loop {
            let Some(words) = self.next_action(&mut nodes)? else { break Ending::Text };
            let mut line = Line { parser: self, words, next: 0 };
            line.skip_spaces();
            let keyword = match line.peek() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" => {
                    line.next += 1;
                    line.expect_end("end")?;
                    break Ending::End;
                }
                "else" => {
                    line.next += 1;
                    line.skip_spaces();
                    let next = line.next;
                    break Ending::Else(line.words, next);
                }
                _ => nodes.push(line.node(&keyword)?),
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// Adds the text before the next action and cuts that into words; none at the end of the text.
    fn next_action(&mut self, nodes: &mut Vec<Node>) -> Result<Option<Vec<Word>>, Error> {
        loop {
            let rest = &self.text[self.at..];
            let Some(open) = rest.find("{{") else {
                push_text(nodes, rest);
                self.at = self.text.len();
                return Ok(None);
            };
            let mut inner = self.at + open + 2;
            let before = &rest[..open];
            let trims = trims_left(&self.text[inner..]);
            push_text(nodes, if trims { before.trim_end() } else { before });
            inner += usize::from(trims);
            let body = &self.text[inner..];
            let comment = if trims { body.trim_start() } else { body };
            if comment.starts_with("/*") {
                self.at = inner + (body.len() - comment.len());
                self.skip_comment()?;
                continue;
            }
            self.at = inner;
            let Some(close) = action_end(self.text, inner) else {
                return Err(self.fail("unclosed action"));
            };
            let content = &self.text[inner..close];
            let trims = content.ends_with('-')
                && content[..content.len() - 1].ends_with(char::is_whitespace);
            let words = words(self.text, inner, close - usize::from(trims))?;
            self.after_action(close, trims);
            return Ok(Some(words));
        }
    }

    fn skip_comment(&mut self) -> Result<(), Error> {
        let Some(length) = self.text[self.at..].find("*/") else {
            return Err(self.fail("unclosed comment"));
        };
        let after = self.at + length + 2;
        let rest = &self.text[after..];
        let trims = rest.trim_start().starts_with("-}}") && rest.starts_with(char::is_whitespace);
        let close = if trims { rest.find("-}}").map(|at| at + 1) } else { Some(0) };
        match close.filter(|close| rest[*close..].starts_with("}}")) {
            Some(close) => self.after_action(after + close, trims),
            None => return Err(self.fail("comment ends before closing delimiter")),
        }
        Ok(())
    }

    /// Goes on behind the `}}` at an offset.
    fn after_action(&mut self, close: usize, trims: bool) {
        let rest = &self.text[close + 2..];
        let skipped = if trims { rest.len() - rest.trim_start().len() } else { 0 };
        self.at = close + 2 + skipped;
    }
}

/// `{{- ` with its blank takes the blanks before it away.
fn trims_left(text: &str) -> bool {
    text.starts_with('-') && text[1..].starts_with(char::is_whitespace)
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    if !text.is_empty() {
        nodes.push(Node::Text(text.to_owned()));
    }
}
