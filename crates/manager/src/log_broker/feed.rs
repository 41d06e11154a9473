//! The agent's listening side: one stream per node, which tells it what to send.

use std::collections::BTreeSet;
use std::sync::Arc;

use swarm_dispatcher::Waiting;
use swarm_proto::v1::SubscriptionMessage;
use tokio::sync::mpsc;

use super::registry::ListenerId;
use super::subscribe::stopped;
use super::term::Term;

/// A node's listening stream; its end is the node's end for the broker.
pub(super) struct Listener {
    term: Arc<Term>,
    node_id: String,
    id: ListenerId,
    /// Subscriptions that the node was told of.
    told: BTreeSet<String>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.term.change_if(|registry| registry.disconnect(&self.node_id, self.id));
    }
}

impl Listener {
    pub(super) fn connect(term: Arc<Term>, node_id: String, id: ListenerId) -> Self {
        term.change_if(|registry| registry.connect(&node_id, id));
        Self { term, node_id, id, told: BTreeSet::new() }
    }

    /// Tells the node of subscriptions as they come and go, until either side has gone.
    pub(super) async fn serve(mut self, agent: mpsc::Sender<Waiting<SubscriptionMessage>>) {
        let mut news = self.term.news();
        loop {
            let is_over = *news.borrow_and_update();
            if is_over || !self.term.read(|registry| registry.is_listening(&self.node_id, self.id))
            {
                // An agent that has gone needs no reason.
                let _ = agent.try_send(Err(stopped()));
                return;
            }
            for message in self.advance() {
                if agent.send(Ok(Box::new(message))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = agent.closed() => return,
                changed = news.changed() => if changed.is_err() { return },
            }
        }
    }

    /// What the node has not been told yet.
    fn advance(&mut self) -> Vec<SubscriptionMessage> {
        let wanted = self.term.read(|registry| registry.for_node(&self.node_id));
        let (kept, ended): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.told).into_iter().partition(|id| wanted.contains_key(id));
        let close = |id| SubscriptionMessage { id, close: true, ..SubscriptionMessage::default() };
        let mut messages: Vec<SubscriptionMessage> = ended.into_iter().map(close).collect();
        self.told = wanted.keys().cloned().collect();
        messages.extend(
            wanted.into_iter().filter(|(id, _)| !kept.contains(id)).map(|(_, message)| message),
        );
        messages
    }
}
