//! Filters: each drops the engines that do not suit a container. Mirrors docker/swarm's `scheduler/filter`.

mod dependency;
mod port;

use super::expression::{Expression, ExpressionError};
use super::node::{Node, split_image};
use super::request::Request;

/// Whether wishes that are only soft count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Softness {
    Enforced,
    Ignored,
}

/// A filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Engines that answer.
    Health,
    /// Engines on which the ports are free.
    Port,
    /// Engines with fewer containers than their label `containerslots` says.
    ContainerSlots,
    /// Engines with the containers whose volumes, links or namespaces are used.
    Dependency,
    /// Engines that are, or are not, where certain containers and images are.
    Affinity,
    /// Engines by name and labels.
    Constraint,
    /// Engines by lists of names.
    Whitelist,
}

/// Tells which engines are kept.
type Judge<'r> = Box<dyn Fn(&Node) -> bool + 'r>;

impl Filter {
    /// All, in the order in which they are asked unless told otherwise.
    pub(crate) const ALL: [Self; 7] = [
        Self::Health,
        Self::Port,
        Self::ContainerSlots,
        Self::Dependency,
        Self::Affinity,
        Self::Constraint,
        Self::Whitelist,
    ];

    /// As it is asked for, and shown by `docker info`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Port => "port",
            Self::ContainerSlots => "containerslots",
            Self::Dependency => "dependency",
            Self::Affinity => "affinity",
            Self::Constraint => "constraint",
            Self::Whitelist => "whitelist",
        }
    }

    /// The filter of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filter| filter.name() == name)
    }

    pub(super) fn judge<'r>(
        self,
        request: &'r Request,
        softness: Softness,
    ) -> Result<Judge<'r>, ExpressionError> {
        Ok(match self {
            Self::Health => Box::new(|node| node.health > 0),
            Self::Port => Box::new(|node| port::is_free(node, request)),
            Self::ContainerSlots => Box::new(has_slot),
            Self::Dependency => Box::new(|node| dependency::are_there(node, request)),
            Self::Affinity => by(&request.wishes.affinities, softness, is_near)?,
            Self::Constraint => by(&request.wishes.constraints, softness, is_such)?,
            Self::Whitelist => by(&request.wishes.whitelists, softness, is_listed)?,
        })
    }

    /// What the container asked of this filter, for a refusal.
    pub(super) fn conditions(self, request: &Request) -> Result<Vec<String>, ExpressionError> {
        let soft = |texts| tell(texts, Expression::soft_condition);
        match self {
            Self::Health => Ok(Vec::new()),
            Self::Port => Ok(port::conditions(request)),
            Self::ContainerSlots => Ok(vec!["available container slots".to_owned()]),
            Self::Dependency => Ok(dependency::conditions(request)),
            Self::Affinity => soft(&request.wishes.affinities),
            Self::Constraint => tell(&request.wishes.constraints, Expression::condition),
            Self::Whitelist => soft(&request.wishes.whitelists),
        }
    }
}

fn tell(
    texts: &[String],
    condition: impl Fn(&Expression) -> String,
) -> Result<Vec<String>, ExpressionError> {
    Ok(Expression::parse_all(texts)?.iter().map(condition).collect())
}

/// Keeps those for which all expressions hold.
fn by<'r>(
    texts: &[String],
    softness: Softness,
    holds: impl Fn(&Node, &Expression) -> bool + 'r,
) -> Result<Judge<'r>, ExpressionError> {
    let mut expressions = Expression::parse_all(texts)?;
    expressions.retain(|expression| softness == Softness::Enforced || !expression.is_soft);
    Ok(Box::new(move |node| expressions.iter().all(|expression| holds(node, expression))))
}

fn has_slot(node: &Node) -> bool {
    let slots = node.labels.get("containerslots").and_then(|slots| slots.parse::<usize>().ok());
    slots.is_none_or(|slots| node.containers.len() < slots)
}

/// A constraint: `node` means the engine's identifier and name, everything else its labels.
fn is_such(node: &Node, expression: &Expression) -> bool {
    match expression.key.as_str() {
        "node" => expression.holds([node.id.as_str(), node.name.as_str()]),
        label => expression.holds([node.labels.get(label).map_or("", String::as_str)]),
    }
}

/// An affinity: to containers, to images, or to containers with a label.
fn is_near(node: &Node, expression: &Expression) -> bool {
    match expression.key.as_str() {
        "container" => {
            let named = node.containers.iter().filter_map(|container| {
                let name = container.names.first()?.trim_start_matches('/');
                Some([container.id.as_str(), name])
            });
            expression.holds(named.flatten())
        }
        "image" => expression.holds(node.images.iter().flat_map(|image| {
            let tags = image.tags.iter().flat_map(|tag| [tag.as_str(), split_image(tag).0]);
            std::iter::once(image.id.as_str()).chain(tags)
        })),
        label => expression.holds(
            node.containers
                .iter()
                .map(|container| container.labels.get(label).map_or("", String::as_str)),
        ),
    }
}

/// A whitelist: names between bars.
fn is_listed(node: &Node, expression: &Expression) -> bool {
    expression.value.split('|').any(|name| name == node.name)
}
