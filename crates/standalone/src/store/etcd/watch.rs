//! Following keys: read once, then told of each change from the revision that was read, so that none is missed.

use std::collections::BTreeMap;

use tonic::{Request, Status};

use super::super::{ANSWER_BYTES_MAX, StoreError};
use super::pb::event::EventType;
use super::pb::watch_client::WatchClient;
use super::pb::watch_request::RequestUnion;
use super::pb::{Event, KeyValue, WatchCreateRequest, WatchRequest};
use super::{Etcd, problem};

/// All keys from the first on that are less than the second; where that is empty, the first alone.
pub(super) type Range = (Vec<u8>, Vec<u8>);

/// What there is below a path.
#[derive(Debug)]
pub(super) struct Seen {
    /// The path, with a slash at its end.
    parent: String,
    values: BTreeMap<Vec<u8>, String>,
}

impl Seen {
    pub(super) fn of(path: &str, read: Vec<KeyValue>) -> Self {
        let mut seen = Self { parent: format!("{path}/"), values: BTreeMap::new() };
        for kv in read {
            seen.put(kv);
        }
        seen
    }

    /// The values, in the order of their keys.
    pub(super) fn values(&self) -> Vec<String> {
        self.values.values().cloned().collect()
    }

    fn put(&mut self, kv: KeyValue) {
        let name = kv.key.strip_prefix(self.parent.as_bytes());
        if name.is_some_and(|name| !name.contains(&b'/')) {
            self.values.insert(kv.key, String::from_utf8_lossy(&kv.value).into_owned());
        }
    }

    fn apply(&mut self, event: Event) {
        let kind = event.r#type();
        let Some(kv) = event.kv else { return };
        match kind {
            EventType::Put => self.put(kv),
            EventType::Delete => drop(self.values.remove(&kv.key)),
        }
    }
}

/// All keys below a path.
pub(super) fn below(path: &str) -> Range {
    let from = format!("{path}/").into_bytes();
    let mut to = from.clone();
    // The byte after the slash.
    if let Some(last) = to.last_mut() {
        *last = b'/' + 1;
    }
    (from, to)
}

impl Etcd {
    /// Tells what is in a range, at once and after each change, until that fails.
    pub(super) async fn watch(
        &self,
        range: Range,
        path: &str,
        tell: &mut (dyn FnMut(&Seen) + Send),
    ) -> StoreError {
        let read = match self.range(&range.0, &range.1).await {
            Ok(read) => read,
            Err(error) => return error,
        };
        let revision = read.header.unwrap_or_default().revision;
        let mut seen = Seen::of(path, read.kvs);
        tell(&seen);
        let host = self.hosts.ask();
        host.answers();
        let create =
            WatchCreateRequest { key: range.0, range_end: range.1, start_revision: revision + 1 };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // The stream of requests stays open: etcd ends the watch with it.
        let requests = tokio_stream::StreamExt::chain(
            tokio_stream::once(request),
            tokio_stream::pending::<WatchRequest>(),
        );
        let mut request = Request::new(requests);
        // A host that has lost the others must say so rather than be silent.
        request
            .metadata_mut()
            .insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
        let mut client =
            WatchClient::new(host.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let mut told = match client.watch(request).await {
            Ok(told) => told.into_inner(),
            Err(status) => return problem(&host.addr, &status),
        };
        loop {
            let answer = match told.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    return problem(&host.addr, &Status::unavailable("the watch ended"));
                }
                Err(status) => return problem(&host.addr, &status),
            };
            if answer.canceled {
                let reason = format!("the watch was cancelled: {}", answer.cancel_reason);
                return problem(&host.addr, &Status::unavailable(reason));
            }
            if !answer.events.is_empty() {
                for event in answer.events {
                    seen.apply(event);
                }
                tell(&seen);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_directly_below_counts() {
        let kv = |key: &str, value: &str| KeyValue {
            key: key.into(),
            value: value.into(),
            ..KeyValue::default()
        };
        let all = [("p/a", "1"), ("p/b/c", "2"), ("q/a", "3"), ("p/d", "4")];
        let mut seen = Seen::of("p", all.iter().map(|(key, value)| kv(key, value)).collect());
        assert_eq!(seen.values(), ["1", "4"]);
        let event =
            |kind: EventType, key: &str| Event { r#type: kind.into(), kv: Some(kv(key, "new")) };
        seen.apply(event(EventType::Delete, "p/a"));
        seen.apply(event(EventType::Put, "p/d"));
        seen.apply(event(EventType::Put, "p/e/f"));
        assert_eq!(seen.values(), ["new"]);
        assert_eq!(below("p"), (b"p/".to_vec(), b"p0".to_vec()));
    }
}
