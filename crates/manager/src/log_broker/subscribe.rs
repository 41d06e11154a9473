//! The client's side: one stream per subscription.

use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::{LogContext, LogMessage, LogStream, SubscribeLogsMessage};
use tokio::sync::mpsc;
use tonic::Status;

use super::registry::Gap;
use super::term::Term;

/// Removes a subscription, however its stream ends.
pub(super) struct SubscriptionGuard {
    pub(super) term: Arc<Term>,
    pub(super) id: String,
}

impl Drop for SubscriptionGuard {
    fn drop(&mut self) {
        self.term.unsubscribe(&self.id);
    }
}

/// Passes messages on until the subscription is complete or the client has gone.
pub(super) async fn serve(
    subscription: SubscriptionGuard,
    mut outbox: mpsc::Receiver<Vec<LogMessage>>,
    client: mpsc::Sender<Result<SubscribeLogsMessage, Status>>,
) {
    let SubscriptionGuard { term, id } = &subscription;
    let mut news = term.news();
    loop {
        let is_over = *news.borrow_and_update();
        let outcome =
            if is_over { Some(Ok(())) } else { term.read(|registry| registry.outcome(id)) };
        if let Some(outcome) = outcome {
            // A node is done only after all its messages are in the outbox.
            while let Ok(messages) = outbox.try_recv() {
                if client.send(Ok(SubscribeLogsMessage { messages })).await.is_err() {
                    return;
                }
            }
            let farewell = if is_over { Err(stopped()) } else { outcome.map_err(Status::unknown) };
            if let Err(status) = farewell {
                // A client that has gone needs no reason.
                let _ = client.send(Err(status)).await;
            }
            return;
        }
        let gaps: Vec<LogMessage> =
            term.take(|registry| registry.take_gaps(id)).into_iter().map(warning).collect();
        if !gaps.is_empty()
            && client.send(Ok(SubscribeLogsMessage { messages: gaps })).await.is_err()
        {
            return;
        }
        tokio::select! {
            Some(messages) = outbox.recv() => {
                if client.send(Ok(SubscribeLogsMessage { messages })).await.is_err() {
                    return;
                }
            }
            () = client.closed() => return,
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

/// A gap as a line among the others, since the stream goes on.
fn warning(gap: Gap) -> LogMessage {
    LogMessage {
        context: Some(LogContext {
            service_id: gap.source.service_id,
            node_id: gap.node_id,
            task_id: gap.source.task_id,
        }),
        timestamp: Some(from_system_time(SystemTime::now())),
        stream: LogStream::Stderr.into(),
        data: format!("warning: incomplete log stream: {}\n", gap.reason).into_bytes(),
        ..LogMessage::default()
    }
}

/// What streams are told when this manager no longer leads.
pub(super) fn stopped() -> Status {
    Status::aborted("broker is not running")
}
