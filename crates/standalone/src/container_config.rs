//! What a container's creator asks of Swarm: constraints, affinities, whitelists, rescheduling and its Swarm identifier,
//! which come in environment variables (`constraint:region==us`) and labels, and are kept in labels.
//!
//! Mirrors docker/swarm's `cluster/config.go`.

use serde_json::{Map, Value};
use thiserror::Error;

/// Labels are kept under this.
const NAMESPACE: &str = "com.docker.swarm";
/// The label of the identifier that a container keeps when it is made anew elsewhere.
pub(crate) const ID_LABEL: &str = "com.docker.swarm.id";

/// What may be asked, with its prefix in the environment and the end of its label.
const KINDS: [(&str, &str); 4] = [
    ("affinity", "affinities"),
    ("constraint", "constraints"),
    ("whitelist", "whitelists"),
    ("reschedule", "reschedule-policies"),
];

/// What was asked can't be done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ConfigError {
    #[error("too many reschedule policies")]
    TooManyPolicies,
    #[error("invalid reschedule policy: {0}")]
    Policy(String),
    #[error("label {0} must hold a JSON array of strings: {1}")]
    Label(String, String),
}

/// What a container asks of Swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) affinities: Vec<String>,
    pub(crate) constraints: Vec<String>,
    pub(crate) whitelists: Vec<String>,
    pub(crate) reschedule: Vec<String>,
}

impl Wishes {
    /// Takes what the body of a creation asks out of its environment, and puts it into its labels.
    ///
    /// # Errors
    /// [`ConfigError`]; the body may be changed in part then.
    pub(crate) fn take(body: &mut Map<String, Value>) -> Result<Self, ConfigError> {
        let mut asked = Self::from_labels(labels(body))?;
        if let Some(Value::Array(environment)) = body.get_mut("Env") {
            environment.retain(|variable| !variable.as_str().is_some_and(|text| asked.add(text)));
        }
        asked.check()?;
        asked.keep(body);
        Ok(asked)
    }

    /// What labels say that a container asked for when it was made.
    ///
    /// # Errors
    /// [`ConfigError::Label`].
    pub(crate) fn from_labels(labels: Option<&Map<String, Value>>) -> Result<Self, ConfigError> {
        let mut asked = Self::default();
        for (kind, end) in KINDS {
            let name = format!("{NAMESPACE}.{end}");
            let Some(text) = labels.and_then(|labels| labels.get(&name)?.as_str()) else {
                continue;
            };
            let listed: Vec<String> = serde_json::from_str(text)
                .map_err(|error| ConfigError::Label(name, error.to_string()))?;
            asked.of_kind(kind).extend(listed);
        }
        Ok(asked)
    }

    /// Whether the container is made anew elsewhere when its engine is lost.
    pub(crate) fn is_rescheduled(&self) -> bool {
        self.reschedule == ["on-node-failure"]
    }

    /// Whether it may run on one named engine only.
    pub(crate) fn names_node(&self) -> bool {
        let is_hard = |text: &String| {
            text.strip_prefix("node==").is_some_and(|value| !value.starts_with('~'))
        };
        self.constraints.iter().any(is_hard)
    }

    /// Puts all that is asked into the labels of a creation's body.
    pub(crate) fn keep(&self, body: &mut Map<String, Value>) {
        let lists = [&self.affinities, &self.constraints, &self.whitelists, &self.reschedule];
        let filled = KINDS.iter().zip(lists).filter(|(_, list)| !list.is_empty());
        let filled: Vec<_> = filled
            .map(|((_, end), list)| (format!("{NAMESPACE}.{end}"), Value::from(list.clone())))
            .collect();
        if filled.is_empty() {
            return;
        }
        change_labels(body, |labels| {
            labels.extend(filled.into_iter().map(|(name, list)| (name, list.to_string().into())));
        });
    }

    /// Adds what an environment variable asks for; whether it asks for anything.
    pub(crate) fn add(&mut self, variable: &str) -> bool {
        let Some((kind, expression)) = variable.split_once(':') else { return false };
        if KINDS.iter().all(|(known, _)| *known != kind) {
            return false;
        }
        self.of_kind(kind).push(expression.to_owned());
        true
    }

    fn of_kind(&mut self, kind: &str) -> &mut Vec<String> {
        match kind {
            "affinity" => &mut self.affinities,
            "constraint" => &mut self.constraints,
            "whitelist" => &mut self.whitelists,
            _ => &mut self.reschedule,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        match self.reschedule.as_slice() {
            [] => Ok(()),
            [policy] if policy == "off" || policy == "on-node-failure" => Ok(()),
            [policy] => Err(ConfigError::Policy(policy.clone())),
            _ => Err(ConfigError::TooManyPolicies),
        }
    }
}

/// The labels in a creation's body.
pub(crate) fn labels(body: &Map<String, Value>) -> Option<&Map<String, Value>> {
    body.get("Labels")?.as_object()
}

/// Changes the labels in a creation's body; there are some from then on.
pub(crate) fn change_labels(
    body: &mut Map<String, Value>,
    change: impl FnOnce(&mut Map<String, Value>),
) {
    let mut labels = match body.remove("Labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    change(&mut labels);
    body.insert("Labels".to_owned(), Value::Object(labels));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn take(body: Value) -> (Result<Wishes, ConfigError>, Value) {
        let Value::Object(mut body) = body else { panic!("an object") };
        let asked = Wishes::take(&mut body);
        (asked, Value::Object(body))
    }

    #[test]
    fn wishes_move_from_the_environment_into_labels() {
        let (asked, body) = take(json!({
            "Env": ["A=1", "constraint:region==us", "affinity:image==redis", "Constraint:x==y"],
            "Labels": {"com.docker.swarm.constraints": "[\"node==a\"]", "own": "1"},
        }));
        let asked = asked.expect("fine");
        assert_eq!(asked.constraints, ["node==a", "region==us"]);
        assert_eq!(asked.affinities, ["image==redis"]);
        assert!(asked.names_node() && !asked.is_rescheduled());
        let expect = json!({
            "Env": ["A=1", "Constraint:x==y"],
            "Labels": {
                "com.docker.swarm.constraints": "[\"node==a\",\"region==us\"]",
                "com.docker.swarm.affinities": "[\"image==redis\"]",
                "own": "1",
            },
        });
        assert_eq!(body, expect);
        let (none, body) = take(json!({"Env": ["A=1"]}));
        assert_eq!((none, body), (Ok(Wishes::default()), json!({"Env": ["A=1"]})));
    }

    #[test]
    fn policies_and_labels_are_checked() {
        for (environment, expect) in [
            (vec!["reschedule:on-node-failure"], Ok(true)),
            (vec!["reschedule:off"], Ok(false)),
            (vec!["reschedule:false"], Err("invalid reschedule policy: false")),
            (vec!["reschedule:off", "reschedule:off"], Err("too many reschedule policies")),
        ] {
            let (asked, _) = take(json!({"Env": environment}));
            let said = asked.map(|asked| asked.is_rescheduled()).map_err(|error| error.to_string());
            assert_eq!(said, expect.map_err(str::to_owned));
        }
        let (asked, _) = take(json!({"Labels": {"com.docker.swarm.constraints": "node==a"}}));
        let said = asked.expect_err("no array").to_string();
        assert!(said.starts_with("label com.docker.swarm.constraints must hold"), "{said}");
    }
}
