//! The engine's event bus: Docker's `/events`, with a bounded memory for `since`.
//!
//! Publishing never blocks; a subscriber that falls too far behind loses the oldest events. Filters are the API's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bollard_stubs::models::{
    EventActor, EventMessage, EventMessageScopeEnum, EventMessageTypeEnum,
};
use futures::Stream;
use tokio::sync::broadcast;

use crate::timestamp;

/// Events remembered for `since`; moby keeps as many.
const HISTORY_MAX: usize = 256;
/// Events that a slow subscriber may lag behind before it loses some.
const BACKLOG_MAX: usize = 1024;

/// The bus; clones publish to and read from the same one.
#[derive(Debug, Clone)]
pub struct EventBus {
    history: Arc<Mutex<VecDeque<EventMessage>>>,
    live: broadcast::Sender<EventMessage>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self { history: Arc::default(), live: broadcast::channel(BACKLOG_MAX).0 }
    }
}

impl EventBus {
    /// Publishes an event about the object `id` with the present time.
    pub fn publish(
        &self,
        kind: EventMessageTypeEnum,
        action: &str,
        id: &str,
        attributes: HashMap<String, String>,
    ) {
        let nanos = i64::try_from(timestamp::now_nanos()).unwrap_or(i64::MAX);
        self.publish_message(EventMessage {
            typ: Some(kind),
            action: Some(action.to_owned()),
            actor: Some(EventActor { id: Some(id.to_owned()), attributes: Some(attributes) }),
            scope: Some(EventMessageScopeEnum::LOCAL),
            time: Some(nanos / 1_000_000_000),
            time_nano: Some(nanos),
        });
    }

    /// Publishes an event that is complete already.
    pub fn publish_message(&self, message: EventMessage) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(message.clone());
        // Without subscribers there is nobody to tell. Sent under the lock, so that history and stream have one order.
        let _ = self.live.send(message);
    }

    /// Events from `since` (only new ones if `None`) to `until` (endless if `None`), times in nanoseconds.
    pub fn subscribe(
        &self,
        since: Option<u64>,
        until: Option<u64>,
    ) -> impl Stream<Item = EventMessage> + Send + 'static {
        let (past, live) = {
            let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            let past: VecDeque<EventMessage> = match since {
                Some(since) => {
                    history.iter().filter(|e| within(e, since, until)).cloned().collect()
                }
                None => VecDeque::new(),
            };
            (past, self.live.subscribe())
        };
        futures::stream::unfold((past, live), move |(mut past, mut live)| async move {
            if let Some(event) = past.pop_front() {
                return Some((event, (past, live)));
            }
            let event = next_before(&mut live, until).await?;
            Some((event, (past, live)))
        })
    }
}

/// The next live event; `None` once `until` has passed.
async fn next_before(
    live: &mut broadcast::Receiver<EventMessage>,
    until: Option<u64>,
) -> Option<EventMessage> {
    loop {
        let received = match until {
            None => live.recv().await,
            Some(until) => {
                let left = until.checked_sub(timestamp::now_nanos())?;
                tokio::time::timeout(std::time::Duration::from_nanos(left), live.recv())
                    .await
                    .ok()?
            }
        };
        match received {
            Ok(event) if within(&event, 0, until) => return Some(event),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

fn within(event: &EventMessage, since: u64, until: Option<u64>) -> bool {
    let time = event.time_nano.and_then(|t| u64::try_from(t).ok()).unwrap_or(0);
    time >= since && until.is_none_or(|until| time <= until)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn remembers_and_streams() {
        let bus = EventBus::default();
        let publish = |action: &str| {
            bus.publish(EventMessageTypeEnum::CONTAINER, action, "c1", HashMap::new());
        };
        for _ in 0..HISTORY_MAX {
            publish("old");
        }
        publish("create");
        let mut events = Box::pin(bus.subscribe(Some(0), None));
        publish("start");
        let mut actions = Vec::new();
        for _ in 0..=HISTORY_MAX {
            actions.extend(events.next().await.and_then(|e| e.action));
        }
        assert_eq!(actions[HISTORY_MAX - 1..], ["create", "start"]);
        let ended: Vec<_> = bus.subscribe(None, Some(1)).collect().await;
        assert!(ended.is_empty());
    }
}
