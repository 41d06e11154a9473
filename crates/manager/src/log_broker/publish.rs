//! The agent's publishing side: one call per subscription and node.

use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, TryStreamExt as _};
use swarm_ca::rpc_error_text;
use swarm_proto::v1::PublishLogsMessage;
use tonic::Status;

use super::subscribe::stopped;
use super::term::{Outbox, Term};

/// A node that publishes; marks it as done, however the call ends.
pub(super) struct Publisher {
    term: Arc<Term>,
    node_id: String,
    current: Option<(String, Outbox)>,
    /// What went wrong; that the call was dropped until anything else is known.
    error: Option<String>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some((id, _)) = self.current.take() {
            self.term.change(|registry| registry.done(&id, &self.node_id, self.error.take()));
        }
    }
}

impl Publisher {
    pub(super) fn new(term: Arc<Term>, node_id: String) -> Self {
        let error = Some(format!("node {node_id} disconnected unexpectedly"));
        Self { term, node_id, current: None, error }
    }

    /// Takes messages until the agent closes the subscription or ends the call.
    pub(super) async fn receive(
        mut self,
        messages: impl Stream<Item = Result<PublishLogsMessage, Status>>,
    ) -> Result<(), Status> {
        let result = self.pump(messages).await;
        self.error = result.as_ref().err().map(rpc_error_text);
        result
    }

    async fn pump(
        &mut self,
        messages: impl Stream<Item = Result<PublishLogsMessage, Status>>,
    ) -> Result<(), Status> {
        let term = self.term.clone();
        let mut over = pin!(term.over());
        let mut messages = pin!(messages);
        loop {
            let message = tokio::select! {
                message = messages.try_next() => message?,
                () = &mut over => return Err(stopped()),
            };
            let Some(message) = message else { return Ok(()) };
            let outbox = self.outbox(&message.subscription_id)?;
            if message.close {
                return Ok(());
            }
            self.check_origin(&message)?;
            tokio::select! {
                sent = outbox.send(message.messages) => sent.map_err(|_| unknown_subscription())?,
                () = &mut over => return Err(stopped()),
            }
        }
    }

    /// Where messages for this subscription go; a call serves only one.
    fn outbox(&mut self, id: &str) -> Result<Outbox, Status> {
        if id.is_empty() {
            return Err(Status::invalid_argument("missing subscription ID"));
        }
        match &self.current {
            Some((current, outbox)) if current == id => Ok(outbox.clone()),
            Some(_) => {
                Err(Status::invalid_argument("different subscription IDs in the same session"))
            }
            None => {
                let outbox =
                    self.term.outbox(id, &self.node_id).ok_or_else(unknown_subscription)?;
                self.current = Some((id.to_owned(), outbox.clone()));
                Ok(outbox)
            }
        }
    }

    /// Every message must name the node that sends it.
    fn check_origin(&self, message: &PublishLogsMessage) -> Result<(), Status> {
        for log in &message.messages {
            let claimed = log.context.as_ref().map_or("", |context| &context.node_id);
            if claimed != self.node_id {
                let text = format!("invalid NodeID: expected={};received={claimed}", self.node_id);
                return Err(Status::permission_denied(text));
            }
        }
        Ok(())
    }
}

fn unknown_subscription() -> Status {
    Status::not_found("unknown subscription ID")
}
