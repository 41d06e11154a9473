//! `docker swarm leave`.
//!
//! Mirrors moby's `Cluster.Leave`.

use tracing::info;

use crate::error::NodeError;
use crate::node::Node;

impl Node {
    /// Leaves the cluster and forgets everything about it.
    ///
    /// # Errors
    /// Where the node is no member, or is a manager and `force` is not set.
    pub async fn leave(&self, force: bool) -> Result<(), NodeError> {
        let _changing = self.shared.changing.lock().await;
        let post = {
            let current = self.current();
            match &current.membership {
                Some(membership) => {
                    let post = membership.post();
                    (membership.is_manager() || post.trouble().is_some()).then_some(post)
                }
                None if current.locked.is_some() && force => None,
                None if current.locked.is_some() => return Err(NodeError::leaves_locked()),
                None if current.error.is_empty() => return Err(NodeError::no_swarm()),
                None if !force => return Err(NodeError::leaves_broken(&current.error)),
                None => None,
            }
        };
        if let Some(post) = post.filter(|_| !force) {
            return Err(manager_leaves(post.reachability().await));
        }
        let membership = self.current().membership.take();
        if let Some(membership) = membership {
            membership.leave().await;
        }
        self.shared.config.executor.leave().await;
        self.clear();
        info!("this node left its cluster");
        Ok(())
    }
}

/// Why a manager does not leave without being forced; `managers` are those in reach and those out of reach, none
/// where nobody leads.
fn manager_leaves(managers: Option<(usize, usize)>) -> NodeError {
    let mut text =
        "You are attempting to leave the swarm on a node that is participating as a manager. "
            .to_owned();
    match managers {
        None => text += "Doing so may lose the consensus of your cluster. ",
        Some((1, 0)) => {
            text += "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ";
            return NodeError::unavailable(text);
        }
        Some((reachable, unreachable)) if reachable <= unreachable + 2 => {
            text += &format!(
                "Removing this node leaves {} managers out of {}. Without a Raft quorum your swarm will be inaccessible. ",
                reachable.saturating_sub(1),
                reachable + unreachable
            );
        }
        Some(_) => {}
    }
    text += "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.";
    NodeError::unavailable(text)
}
