//! Chooses an engine for a container: filters drop those that do not suit, the strategy orders the rest. Pure.
//!
//! Mirrors docker/swarm's `scheduler` package. Wishes that are only soft are dropped, all of them, where no engine fits
//! with them.

mod expression;
mod filter;
mod node;
mod request;
mod strategy;

use std::borrow::Borrow;

use thiserror::Error;

pub(crate) use filter::Filter;
pub(crate) use node::{Container, Image, Node, is_same_image};
pub(crate) use request::{Request, bindings};
pub(crate) use strategy::Strategy;

use filter::Softness;

/// No engine for a container; the words are the original's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PlacementError {
    /// No engine is known.
    #[error("No nodes available in the cluster")]
    NoNodes,
    /// None is healthy.
    #[error("No healthy node available in the cluster")]
    NoHealthyNode,
    /// Each was dropped by one filter or the other: the conditions of those that were asked, a line for each.
    #[error("Unable to find a node that satisfies the following conditions {0}")]
    Unsatisfied(String),
    /// Those that are left are full.
    #[error("no resources available to schedule container")]
    NoResources,
}

/// A strategy and filters in their order.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    pub(crate) strategy: Strategy,
    pub(crate) filters: Vec<Filter>,
}

impl Scheduler {
    /// The engines that may take the container, the best one first.
    ///
    /// # Errors
    /// [`PlacementError`], where there is none.
    pub(crate) fn select<'n>(
        &self,
        nodes: &'n [impl Borrow<Node>],
        request: &Request,
    ) -> Result<Vec<&'n Node>, PlacementError> {
        if nodes.is_empty() {
            return Err(PlacementError::NoNodes);
        }
        self.pass(nodes, request, Softness::Enforced)
            .or_else(|_| self.pass(nodes, request, Softness::Ignored))
    }

    fn pass<'n>(
        &self,
        nodes: &'n [impl Borrow<Node>],
        request: &Request,
        softness: Softness,
    ) -> Result<Vec<&'n Node>, PlacementError> {
        let mut left: Vec<&Node> = nodes.iter().map(Borrow::borrow).collect();
        for (index, filter) in self.filters.iter().enumerate() {
            let is_kept = filter.judge(request, softness);
            match is_kept {
                Ok(is_kept) => left.retain(|node| is_kept(node)),
                Err(_) => left.clear(),
            }
            if left.is_empty() {
                return Err(self.refusal(*filter, &self.filters[..=index], request));
            }
        }
        let ranked = self.strategy.rank(left, request);
        if ranked.is_empty() { Err(PlacementError::NoResources) } else { Ok(ranked) }
    }

    fn refusal(&self, failed: Filter, asked: &[Filter], request: &Request) -> PlacementError {
        if failed == Filter::Health {
            return PlacementError::NoHealthyNode;
        }
        let mut told = String::new();
        for filter in asked {
            match filter.conditions(request) {
                Ok(conditions) if conditions.is_empty() => {}
                Ok(conditions) => {
                    told.push_str(&format!("\n[{}]", conditions.join(" ")));
                }
                Err(error) => {
                    told.push_str(&format!("\nerror from {} filter: {error}", filter.name()));
                    break;
                }
            }
        }
        PlacementError::Unsatisfied(told)
    }
}

#[cfg(test)]
mod tests;
