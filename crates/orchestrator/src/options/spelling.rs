//! Labels that were surely meant for us and are misspelt: without a word they would do nothing.
//!
//! Only what lies below a label of ours, or is a slip away from one, is refused. Other labels that begin with `swarm.`
//! belong to their users, as tools have such names too.

use swarm_proto::v1::ServiceSpec;

use super::{Labels, OptionError, backoff, cron, drain, loss, rebalance};

/// How many slips (a letter too many, too few, another or two swapped) make a misspelling.
const SLIPS: usize = 1;

/// Everything that a service may ask for.
const KNOWN: &[&[&str]] =
    &[&backoff::LABELS, &cron::LABELS, &drain::LABELS, &loss::LABELS, &rebalance::LABELS];

/// Refuses the first misspelt label, by name.
pub(super) fn check(_: &ServiceSpec, labels: &Labels) -> Result<(), OptionError> {
    let problem = |name: &str| KNOWN.iter().find_map(|family| misspelling(name, family));
    let mut names: Vec<&String> = labels.keys().filter(|name| name.starts_with("swarm.")).collect();
    names.retain(|name| !KNOWN.iter().any(|family| family.contains(&name.as_str())));
    names.sort();
    match names.into_iter().find_map(|name| Some((name, problem(name)?))) {
        Some((name, problem)) => Err(OptionError::new(name, &labels[name], problem)),
        None => Ok(()),
    }
}

fn misspelling(name: &str, family: &[&str]) -> Option<String> {
    let near = |known: &&&str| strsim::osa_distance(name, known) <= SLIPS;
    if let Some(known) = family.iter().find(near) {
        return Some(format!("there is no such label; did you mean {known}?"));
    }
    let group = family.iter().find_map(|known| parent(known))?;
    let is_below = name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
    is_below.then(|| format!("there is no such label; there are {}", family.join(", ")))
}

/// What a label of three words lies below.
fn parent(known: &str) -> Option<&str> {
    known.rsplit_once('.').map(|(parent, _)| parent).filter(|parent| parent.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_meant_for_us_is_refused() {
        for (name, expect) in [
            ("swarm.rebalance", None),
            ("swarm.cron.deadline", None),
            ("swarm.restart.backoff", None),
            ("swarm.rebalanc", Some("did you mean swarm.rebalance?")),
            ("swarm.rebalanced", Some("did you mean swarm.rebalance?")),
            ("swarm.hodl", Some("did you mean swarm.hold?")),
            ("swarm.rebalance.cooldwon", Some("did you mean swarm.rebalance.cooldown?")),
            (
                "swarm.cron.foo",
                Some(
                    "there are swarm.cron, swarm.cron.timezone, swarm.cron.concurrency, swarm.cron.deadline",
                ),
            ),
            ("swarm.restart.foo", Some("there are swarm.restart.backoff")),
            // Theirs.
            ("swarm.cronjob.enable", None),
            ("swarm.cronjob", None),
            ("swarm.autoscale", None),
            ("swarm.restart", None),
            ("com.example.swarm.rebalanc", None),
        ] {
            let labels: Labels = [(name.to_owned(), "x".to_owned())].into();
            let said = check(&ServiceSpec::default(), &labels).map_err(|error| error.to_string());
            let expect = expect
                .map(|expect| format!("label {name}=\"x\": there is no such label; {expect}"));
            assert_eq!(said.err(), expect, "{name}");
        }
    }
}
