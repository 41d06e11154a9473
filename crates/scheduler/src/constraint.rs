//! Placement constraints: `node.labels.zone == east`, `node.role != manager`.
//!
//! Parsed here for the scheduler, for the constraint enforcer and for the validation of service specifications.
//! Those on services (`service.name != web`) are parsed here too and judged elsewhere (`affinity`).
//! Mirrors SwarmKit's package `manager/constraint`: keys and values compare without regard to case, the name of a
//! label with it; a key that means nothing matches no node.

use std::net::IpAddr;

use swarm_proto::v1::{Node, NodeRole};
use thiserror::Error;

use crate::affinity::{Company, Selector};

/// What a node's own label is called in constraints and placement preferences.
const NODE_LABEL_PREFIX: &str = "node.labels.";
/// What a label of the node's engine is called in constraints and placement preferences.
const ENGINE_LABEL_PREFIX: &str = "engine.labels.";
/// What a service's label is called in constraints, in the plural as nodes' labels are, or in the singular.
const SERVICE_LABEL_PREFIXES: [&str; 2] = ["service.labels.", "service.label."];

/// Why an expression is not a constraint. The texts are SwarmKit's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Neither `==` nor `!=` occurs.
    #[error("constraint expected one operator from ==, !=")]
    NoOperator,
    /// What stands left of the operator is no key.
    #[error("key '{0}' is invalid")]
    Key(String),
    /// What stands right of the operator is no value.
    #[error("value '{0}' is invalid")]
    Value(String),
}

/// One condition on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    key: Key,
    wanted: bool,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Architecture,
    Label(Label),
    ServiceName,
    ServiceLabel(String),
    Unknown,
}

/// A label by which nodes are told apart: the node's own or its engine's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Set by the cluster's administrator on the node.
    Node(String),
    /// Reported by the node's engine.
    Engine(String),
}

impl Label {
    /// Reads `node.labels.<name>` or `engine.labels.<name>`.
    pub fn parse(descriptor: &str) -> Option<Self> {
        if let Some(name) = strip_prefix_fold(descriptor, NODE_LABEL_PREFIX) {
            return Some(Self::Node(name.to_owned()));
        }
        strip_prefix_fold(descriptor, ENGINE_LABEL_PREFIX).map(|name| Self::Engine(name.to_owned()))
    }

    /// The label's value on `node`, empty where it has none.
    pub fn value<'a>(&self, node: &'a Node) -> &'a str {
        let value = match self {
            Self::Node(name) => {
                let annotations = node.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
                annotations.and_then(|annotations| annotations.labels.get(name))
            }
            Self::Engine(name) => {
                let engine =
                    node.description.as_ref().and_then(|description| description.engine.as_ref());
                engine.and_then(|engine| engine.labels.get(name))
            }
        };
        value.map_or("", String::as_str)
    }
}

/// Parses a list of constraints; the first that is malformed fails the whole list.
pub fn parse(expressions: &[String]) -> Result<Vec<Constraint>, ParseError> {
    expressions.iter().map(|expression| Constraint::parse(expression)).collect()
}

/// Whether `node` meets every one of `constraints`.
pub fn matches(constraints: &[Constraint], node: &Node) -> bool {
    constraints.iter().all(|constraint| constraint.matches(node))
}

impl Constraint {
    /// Parses one expression of the form `key == value` or `key != value`.
    pub fn parse(expression: &str) -> Result<Self, ParseError> {
        // An expression that holds both operators is split at the first "==", as SwarmKit does.
        let (wanted, key, value) = if let Some((key, value)) = expression.split_once("==") {
            (true, key.trim(), value.trim())
        } else if let Some((key, value)) = expression.split_once("!=") {
            (false, key.trim(), value.trim())
        } else {
            return Err(ParseError::NoOperator);
        };
        if !is_key(key) {
            return Err(ParseError::Key(key.to_owned()));
        }
        if value.is_empty() || !value.chars().all(is_value_char) {
            return Err(ParseError::Value(value.to_owned()));
        }
        Ok(Self { key: Key::parse(key), wanted, value: value.to_owned() })
    }

    /// Whether `node` meets this constraint.
    pub fn matches(&self, node: &Node) -> bool {
        let description = node.description.as_ref();
        let platform = description.and_then(|description| description.platform.as_ref());
        match &self.key {
            Key::Id => self.compare(&node.id),
            Key::Hostname => {
                self.compare(description.map_or("", |description| description.hostname.as_str()))
            }
            Key::Ip => self.matches_address(node),
            Key::Role => {
                self.compare(NodeRole::try_from(node.role).map_or("", |role| role.as_str_name()))
            }
            Key::Os => self.compare(platform.map_or("", |platform| platform.os.as_str())),
            Key::Architecture => {
                self.compare(platform.map_or("", |platform| platform.architecture.as_str()))
            }
            Key::Label(label) => self.compare(label.value(node)),
            // What else runs on a node says nothing about the node itself.
            Key::ServiceName | Key::ServiceLabel(_) => true,
            Key::Unknown => false,
        }
    }

    /// What is asked for of other services, if that is what this constraint is about.
    pub(crate) fn company(&self) -> Option<Company> {
        let services = match &self.key {
            Key::ServiceName => Selector::name(&self.value),
            Key::ServiceLabel(label) => Selector::label(label, &self.value),
            _ => return None,
        };
        Some(Company { services, wanted: self.wanted })
    }

    fn compare(&self, actual: &str) -> bool {
        equal_fold(&self.value, actual) == self.wanted
    }

    /// An address or a subnet in CIDR form; anything else matches no node, whatever the operator.
    fn matches_address(&self, node: &Node) -> bool {
        let actual = node.status.as_ref().and_then(|status| status.addr.parse::<IpAddr>().ok());
        let actual = actual.map(|address| address.to_canonical());
        if let Ok(address) = self.value.parse::<IpAddr>() {
            return (actual == Some(address.to_canonical())) == self.wanted;
        }
        match Subnet::parse(&self.value) {
            Some(subnet) => actual.is_some_and(|address| subnet.contains(address)) == self.wanted,
            None => false,
        }
    }
}

impl Key {
    fn parse(key: &str) -> Self {
        const KEYS: [(&str, Key); 6] = [
            ("node.id", Key::Id),
            ("node.hostname", Key::Hostname),
            ("node.ip", Key::Ip),
            ("node.role", Key::Role),
            ("node.platform.os", Key::Os),
            ("node.platform.arch", Key::Architecture),
        ];
        if let Some((_, key)) = KEYS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
            return key;
        }
        if key.eq_ignore_ascii_case("service.name") {
            return Self::ServiceName;
        }
        let mut prefixes = SERVICE_LABEL_PREFIXES.into_iter();
        if let Some(label) = prefixes.find_map(|prefix| strip_prefix_fold(key, prefix)) {
            return Self::ServiceLabel(label.to_owned());
        }
        Label::parse(key).map_or(Self::Unknown, Self::Label)
    }
}

struct Subnet {
    address: u128,
    mask: u128,
    v4: bool,
}

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        let (bits, width) = number(address);
        if length > width {
            return None;
        }
        // A mask of no bits at all would shift by the whole width, which is no legal shift.
        let mask = if length == 0 { 0 } else { u128::MAX << (width - length) };
        Some(Self { address: bits & mask, mask, v4: width == 32 })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (bits, width) = number(address);
        self.v4 == (width == 32) && bits & self.mask == self.address
    }
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

fn is_key(key: &str) -> bool {
    let mut chars = key.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && key.len() > 1
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_value_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":-_ \t\n\u{c}\r.*()?+[]\\^$|/".contains(c)
}

fn equal_fold(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right) || left.to_lowercase() == right.to_lowercase()
}

fn strip_prefix_fold<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    let rest = text.get(prefix.len()..)?;
    (head.eq_ignore_ascii_case(prefix) && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use swarm_proto::v1::{
        Annotations, EngineDescription, NodeDescription, NodeSpec, NodeStatus, Platform,
    };

    use super::*;

    fn node() -> Node {
        let labels = |key: &str, value: &str| HashMap::from([(key.to_owned(), value.to_owned())]);
        Node {
            id: "n1".into(),
            role: NodeRole::Manager as i32,
            status: Some(NodeStatus { addr: "10.1.2.3".into(), ..Default::default() }),
            spec: Some(NodeSpec {
                annotations: Some(Annotations {
                    labels: labels("Zone", "East"),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            description: Some(NodeDescription {
                hostname: "Swarm1".into(),
                platform: Some(Platform { os: "linux".into(), architecture: "x86_64".into() }),
                engine: Some(EngineDescription {
                    labels: labels("disk", "ssd"),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn matches_as_swarmkit_does() {
        for (expression, full, empty) in [
            ("node.id==N1", true, false),
            ("node.id != n1", false, true),
            ("NODE.HostName == swarm1", true, false),
            ("node.hostname != swarm2", true, true),
            ("node.role==manager", true, false),
            ("node.role == WORKER", false, true),
            ("node.ip == 10.1.2.3", true, false),
            ("node.ip == ::ffff:10.1.2.3", true, false),
            ("node.ip != 10.1.0.0/16", false, true),
            ("node.ip == 10.2.0.0/16", false, false),
            ("node.ip == 0.0.0.0/0", true, false),
            ("node.ip != nonsense", false, false),
            ("node.platform.os==Linux", true, false),
            ("node.platform.arch != arm64", true, true),
            ("node.labels.Zone==east", true, false),
            ("node.labels.zone==east", false, false),
            ("node.labels.zone!=east", true, true),
            ("Engine.Labels.disk == SSD", true, false),
            ("engine.labels.disk != ssd", false, true),
            ("node.unknown==1", false, false),
            ("node.unknown!=1", false, false),
            ("node.labels.==1", false, false),
            ("service.name==web", true, true),
            ("SERVICE.Labels.tier!=db", true, true),
            ("service.label.tier!=db", true, true),
            ("service.labels.==db", false, false),
            ("service.id==x", false, false),
        ] {
            let constraint = Constraint::parse(expression).expect(expression);
            assert_eq!(constraint.matches(&node()), full, "{expression} on a full node");
            assert_eq!(
                constraint.matches(&Node::default()),
                empty,
                "{expression} on an empty node"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_constraint() {
        for (expression, message) in [
            ("", "constraint expected one operator from ==, !="),
            ("node.id=1", "constraint expected one operator from ==, !="),
            ("==1", "key '' is invalid"),
            ("1node==x", "key '1node' is invalid"),
            ("n==x", "key 'n' is invalid"),
            ("no de==x", "key 'no de' is invalid"),
            ("node.id==", "value '' is invalid"),
            ("node.id==a,b", "value 'a,b' is invalid"),
            ("node.id===a", "value '=a' is invalid"),
            ("node.id==ä", "value 'ä' is invalid"),
        ] {
            assert_eq!(
                Constraint::parse(expression).map_err(|error| error.to_string()),
                Err(message.to_owned())
            );
        }
    }
}
