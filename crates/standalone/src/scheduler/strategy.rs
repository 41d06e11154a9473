//! The order of those engines that are left. Mirrors docker/swarm's `scheduler/strategy`.

use std::cmp::Reverse;

use rand::seq::SliceRandom as _;

use super::node::Node;
use super::request::Request;

/// How much a point of health weighs beside a hundredth of a reservation.
const HEALTH_FACTOR: i64 = 10;

/// Which engine is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// The emptiest.
    Spread,
    /// The fullest that has room.
    BinPack,
    /// Any.
    Random,
}

impl Strategy {
    /// All, by the names that they are asked for by; `binpacking` is what versions before 1.0 called it.
    pub(crate) const NAMES: [(&'static str, Self); 4] = [
        ("spread", Self::Spread),
        ("binpack", Self::BinPack),
        ("random", Self::Random),
        ("binpacking", Self::BinPack),
    ];

    /// The strategy of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(own, _)| *own == name).map(|(_, strategy)| *strategy)
    }

    /// As `docker info` shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::BinPack => "binpack",
            Self::Random => "random",
        }
    }

    /// Those with room for the container, the best one first.
    pub(super) fn rank<'n>(self, nodes: Vec<&'n Node>, request: &Request) -> Vec<&'n Node> {
        let factor = match self {
            Self::Spread => -HEALTH_FACTOR,
            Self::BinPack => HEALTH_FACTOR,
            Self::Random => return shuffled(nodes),
        };
        let weighted = |node: &'n Node| {
            let weight = load(node, request)? + factor * node.health;
            Some(((weight, node.containers.len()), node))
        };
        let mut ranked: Vec<_> = nodes.into_iter().filter_map(weighted).collect();
        match self {
            Self::BinPack => ranked.sort_by_key(|(weight, node)| (Reverse(*weight), &node.name)),
            _ => ranked.sort_by_key(|(weight, node)| (*weight, &node.name)),
        }
        ranked.into_iter().map(|(_, node)| node).collect()
    }
}

fn shuffled(mut nodes: Vec<&Node>) -> Vec<&Node> {
    nodes.shuffle(&mut rand::rng());
    nodes
}

/// How full the engine would be with the container, in hundredths of its processors and its memory; none where it has
/// no room.
fn load(node: &Node, request: &Request) -> Option<i64> {
    let cpus = score(node.used_cpus, request.cpus, node.total_cpus)?;
    let memory = score(node.used_memory, request.memory, node.total_memory)?;
    Some(cpus + memory)
}

/// What asks for nothing finds every engine as full as can be.
fn score(used: i64, wanted: i64, total: i64) -> Option<i64> {
    if wanted <= 0 {
        return Some(100);
    }
    let score =
        i128::from(used).saturating_add(i128::from(wanted)) * 100 / i128::from(total.max(1));
    i64::try_from(score).ok().filter(|score| *score <= 100 && wanted <= total)
}
