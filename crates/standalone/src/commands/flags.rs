//! Command lines as Go programs read them: one dash or two, values after `=` or a blank, and arguments that may come
//! before the flags.

use std::collections::BTreeMap;

use thiserror::Error;

/// A flag that a command has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Its names, the one that it is known by first.
    pub(crate) names: &'static [&'static str],
    pub(crate) kind: Kind,
    /// What it does, for help.
    pub(crate) usage: &'static str,
    /// The environment variable that stands in for it; empty where there is none.
    pub(crate) env: &'static str,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=true`.
    Switch,
    /// A text, with what it is without.
    Text(&'static str),
    /// Texts, one each time.
    List,
}

/// A command line that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FlagError {
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    #[error("invalid boolean value \"{1}\" for -{0}: parse error")]
    NoSwitch(String, String),
    #[error("Cannot use two forms of the same flag: {0} {1}")]
    TwoForms(String, String),
}

/// What a command line says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
    /// What is no flag.
    pub(crate) arguments: Vec<String>,
}

impl Given {
    /// Reads a command's words; `env` tells environment variables.
    ///
    /// # Errors
    /// [`FlagError`], in the words of Go's `flag` package.
    pub(crate) fn read(
        flags: &[Flag],
        words: &[String],
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, FlagError> {
        let mut given = Self::default();
        let begin = words.iter().position(|word| is_flag(word)).unwrap_or(words.len());
        let (before, mut rest) = words.split_at(begin);
        let mut forms: BTreeMap<&str, String> = BTreeMap::new();
        while let [word, after @ ..] = rest {
            if !is_flag(word) {
                break;
            }
            rest = after;
            if word == "--" {
                break;
            }
            let text = word.trim_start_matches('-');
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let flag = flags.iter().find(|flag| flag.names.contains(&name));
            let flag = flag.ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
            let own = flag.names[0];
            match forms.get(own) {
                Some(form) if form != name => {
                    return Err(FlagError::TwoForms(name.to_owned(), form.clone()));
                }
                _ => forms.insert(own, name.to_owned()),
            };
            let value = match (flag.kind, value) {
                (Kind::Switch, value) => {
                    let value = value.unwrap_or_else(|| "true".to_owned());
                    let is_on = switch(&value)
                        .ok_or_else(|| FlagError::NoSwitch(name.to_owned(), value.clone()))?;
                    is_on.to_string()
                }
                (_, Some(value)) => value,
                (_, None) => {
                    let Some((value, after)) = rest.split_first() else {
                        return Err(FlagError::NoValue(name.to_owned()));
                    };
                    rest = after;
                    value.clone()
                }
            };
            let values = given.values.entry(own).or_default();
            if flag.kind != Kind::List {
                values.clear();
            }
            values.push(value);
        }
        given.arguments = before.iter().chain(rest).cloned().collect();
        given.fill(flags, env);
        Ok(given)
    }

    fn fill(&mut self, flags: &[Flag], env: impl Fn(&str) -> Option<String>) {
        for flag in flags.iter().filter(|flag| !flag.env.is_empty()) {
            let Some(value) = env(flag.env).filter(|value| !value.is_empty()) else { continue };
            let values = match flag.kind {
                Kind::List => value.split(',').map(|part| part.trim().to_owned()).collect(),
                Kind::Switch => vec![switch(&value).unwrap_or_default().to_string()],
                Kind::Text(_) => vec![value],
            };
            self.values.entry(flag.names[0]).or_insert(values);
        }
    }

    /// Whether the flag was given, by itself or by its variable.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|values| values.iter().any(|value| value == "true"))
    }

    /// A flag's text; of one that was not given, what it is without.
    pub(crate) fn text(&self, flags: &[Flag], name: &str) -> String {
        let given = self.values.get(name).and_then(|values| values.last().cloned());
        let default = || {
            let flag = flags.iter().find(|flag| flag.names[0] == name);
            match flag.map(|flag| flag.kind) {
                Some(Kind::Text(text)) => text.to_owned(),
                _ => String::new(),
            }
        };
        given.unwrap_or_else(default)
    }

    /// A flag's texts.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }
}

fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// As Go's `strconv.ParseBool`.
fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 3] = [
        Flag { names: &["tls"], kind: Kind::Switch, usage: "", env: "" },
        Flag { names: &["host", "H"], kind: Kind::List, usage: "", env: "SWARM_HOST" },
        Flag { names: &["ttl"], kind: Kind::Text("20s"), usage: "", env: "" },
    ];

    fn read(line: &str, env: &[(&str, &str)]) -> Result<Given, FlagError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let value = |name: &str| {
            env.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
        };
        Given::read(&FLAGS, &words, value)
    }

    #[test]
    fn lines_are_read_as_by_go() {
        for (line, env, expect) in [
            ("", &[][..], (false, "", "20s", "")),
            ("consul://x -H :4000 --tls", &[], (true, ":4000", "20s", "consul://x")),
            ("-tls=false -host=a --host b --ttl=-1s x y", &[], (false, "a b", "-1s", "x y")),
            ("--ttl -10s x", &[], (false, "", "-10s", "x")),
            ("x -- --tls", &[], (false, "", "20s", "x --tls")),
            ("x --tls y --ttl 1s", &[], (true, "", "20s", "x y --ttl 1s")),
            ("x", &[("SWARM_HOST", "a, b")], (false, "a b", "20s", "x")),
            ("-H c x", &[("SWARM_HOST", "a,b")], (false, "c", "20s", "x")),
        ] {
            let given = read(line, env).expect("read");
            let said = (
                given.is_on("tls"),
                given.list("host").join(" "),
                given.text(&FLAGS, "ttl"),
                given.arguments.join(" "),
            );
            let said = (said.0, said.1.as_str(), said.2.as_str(), said.3.as_str());
            assert_eq!(said, expect, "{line}");
        }
        for (line, expect) in [
            ("--x", "flag provided but not defined: -x"),
            ("--ttl", "flag needs an argument: -ttl"),
            ("--tls=x", "invalid boolean value \"x\" for -tls: parse error"),
            ("-H a --host b", "Cannot use two forms of the same flag: host H"),
        ] {
            assert_eq!(read(line, &[]).expect_err("refused").to_string(), expect);
        }
    }
}
