//! Consul, by its HTTP API: keys and values, sessions, and queries that wait for a change.
//!
//! A claim is a key that a session of its own has acquired and that goes with it; a lock is one that stays, with nobody's
//! session, when it is given back. Mirrors docker/libkv's `store/consul`. Consul keeps a session for twice its time at
//! most, so half of what is asked for is given; and an agent's own health has no say in it, else a lock could be taken
//! from one who is sure to have it.

mod client;

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::hosts::Hosts;
use super::tls::Tls;
use super::{Claim, Holding, REQUEST_TIMEOUT, Session, Store, StoreError, TellHolder, TellValues};
use crate::discovery::StoreUrl;
use crate::engine::url_encoded;
use client::{Answer, Client};

/// What the original marks its keys with.
const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
/// A query waits so long for a change; Consul adds a sixteenth.
const WAIT: Duration = Duration::from_secs(15);
/// Longer than that, and something between is broken.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A Consul.
#[derive(Debug)]
pub(super) struct Consul {
    hosts: Hosts<Client>,
}

/// A key, as Consul tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    /// In base64; none where it is empty.
    value: Option<String>,
    #[serde(default)]
    session: String,
    #[serde(default)]
    lock_index: u64,
}

impl Pair {
    fn text(&self) -> String {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(self.value.as_deref().unwrap_or_default())
            .unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Consul {
    pub(super) fn new(url: &StoreUrl, tls: Option<Tls>) -> Self {
        let clients = url.hosts.iter().map(|addr| Client::new(addr, tls.clone()));
        Self { hosts: Hosts::new(clients.collect()) }
    }

    /// Asks one host after the other until one answers.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
        limit: Duration,
    ) -> Result<Answer, StoreError> {
        let mut tries = self.hosts.len();
        loop {
            let host = self.hosts.ask();
            let answer = host.ask(method.clone(), path, body, limit).await;
            tries -= 1;
            match answer {
                Err(StoreError::Unavailable { .. }) if tries > 0 => {}
                answer => {
                    if !matches!(answer, Err(StoreError::Unavailable { .. })) {
                        host.answers();
                    }
                    return answer;
                }
            }
        }
    }

    async fn put(&self, path: &str, body: &str) -> Result<Answer, StoreError> {
        self.ask(Method::PUT, path, body, REQUEST_TIMEOUT).await
    }

    async fn open_session(&self, behavior: &str, ttl: Duration) -> Result<String, StoreError> {
        let wanted = json!({
            "Name": "swarm",
            "TTL": format!("{}ms", (ttl / 2).as_millis()),
            "Behavior": behavior,
            "LockDelay": "1ms",
            "Checks": [],
        });
        let answer = self.put("/v1/session/create", &wanted.to_string()).await?.accepted()?;
        let made: Value = answer.json()?;
        made["ID"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| answer.nonsense("a session without ID"))
    }

    /// Whether the session still lives; for its time from now on, if so.
    async fn renew(&self, session: &str) -> Result<bool, StoreError> {
        let answer = self.put(&format!("/v1/session/renew/{session}"), "").await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(false),
            _ => answer.accepted().map(|_| true),
        }
    }

    async fn destroy(&self, session: &str) -> Result<(), StoreError> {
        self.put(&format!("/v1/session/destroy/{session}"), "").await?.accepted().map(drop)
    }

    /// Whether the session has the key now.
    async fn acquire(&self, claim: &Claim, session: &str) -> Result<bool, StoreError> {
        let path = format!("{}?acquire={session}&flags={FLAGS}", key_path(&claim.key));
        self.put(&path, &claim.value).await?.accepted()?.json()
    }

    /// The pairs that a query finds, with the index that tells when they change.
    async fn pairs(&self, path: &str, limit: Duration) -> Result<(Vec<Pair>, u64), StoreError> {
        let answer = self.ask(Method::GET, path, "", limit).await?;
        let index = answer.index;
        if index == 0 && answer.status.is_success() {
            return Err(answer.nonsense("there is no X-Consul-Index"));
        }
        match answer.status {
            StatusCode::NOT_FOUND => Ok((Vec::new(), index)),
            _ => Ok((answer.accepted()?.json()?, index)),
        }
    }

    async fn pair(&self, key: &str) -> Result<Option<Pair>, StoreError> {
        let path = format!("{}?consistent=", key_path(key));
        Ok(self.pairs(&path, REQUEST_TIMEOUT).await?.0.into_iter().next())
    }

    /// Tells what a query finds, at once and after each change, until that fails.
    async fn watch(&self, path: &str, tell: &mut (dyn FnMut(Vec<Pair>) + Send)) -> StoreError {
        let mut last = 0;
        loop {
            let (wait, limit) = match last {
                0 => (String::new(), REQUEST_TIMEOUT),
                index => (format!("&index={index}&wait={}s", WAIT.as_secs()), WAIT_TIMEOUT),
            };
            let (pairs, index) = match self.pairs(&format!("{path}{wait}"), limit).await {
                Ok(found) => found,
                Err(error) => return error,
            };
            if index != last {
                tell(pairs);
            }
            // One that goes back belongs to a store that was put back, see Consul's own rules for these queries.
            last = if index < last { 0 } else { index.max(1) };
        }
    }
}

#[async_trait]
impl Store for Consul {
    async fn register(&self, claim: &Claim) -> Result<(), StoreError> {
        // The session is the key's own, so that an agent that was started anew takes it over.
        let pair = self.pair(&claim.key).await?;
        let session = match &pair {
            Some(pair) if !pair.session.is_empty() && self.renew(&pair.session).await? => {
                if pair.text() == claim.value {
                    return Ok(());
                }
                pair.session.clone()
            }
            _ => self.open_session("delete", claim.ttl).await?,
        };
        self.acquire(claim, &session).await.map(drop)
    }

    async fn values(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let query = format!("{}?recurse=&consistent=", key_path(&format!("{path}/")));
        let (pairs, _) = self.pairs(&query, REQUEST_TIMEOUT).await?;
        Ok(values(path, &pairs))
    }

    async fn follow(&self, path: &str, tell: TellValues<'_>) -> StoreError {
        let query = format!("{}?recurse=", key_path(&format!("{path}/")));
        self.watch(&query, &mut |pairs| tell(values(path, &pairs))).await
    }

    async fn follow_holder(&self, key: &str, tell: TellHolder<'_>) -> StoreError {
        let query = format!("{}?consistent=", key_path(key));
        self.watch(&query, &mut |pairs| {
            let held = pairs.iter().find(|pair| !pair.session.is_empty());
            tell(held.map(Pair::text));
        })
        .await
    }

    async fn hold(
        &self,
        claim: &Claim,
        session: &mut Option<Session>,
    ) -> Result<Holding, StoreError> {
        if let Some(known) = session.clone()
            && !self.renew(&known.0).await?
        {
            *session = None;
        }
        let own = match session.clone() {
            Some(known) => known.0,
            None => self.open_session("release", claim.ttl).await?,
        };
        *session = Some(Session(own.clone()));
        let mut pair = self.pair(&claim.key).await?;
        if pair.as_ref().is_none_or(|pair| pair.session != own) {
            self.acquire(claim, &own).await?;
            pair = self.pair(&claim.key).await?;
        }
        match pair {
            Some(pair) if pair.session == own => {
                Ok(Holding::Ours { fence: pair.lock_index, sure: claim.ttl / 2 })
            }
            _ => {
                // Nobody needs it: it would live for its time.
                *session = None;
                self.destroy(&own).await?;
                Ok(Holding::Others)
            }
        }
    }

    async fn release(&self, claim: &Claim, session: Session) -> Result<(), StoreError> {
        let path = format!("{}?release={}&flags={FLAGS}", key_path(&claim.key), session.0);
        self.put(&path, &claim.value).await?.accepted()?;
        self.destroy(&session.0).await
    }
}

/// The values directly below a path.
fn values(path: &str, pairs: &[Pair]) -> Vec<String> {
    let is_directly_below = |pair: &&Pair| {
        let name = pair.key.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    };
    pairs.iter().filter(is_directly_below).map(Pair::text).collect()
}

fn key_path(key: &str) -> String {
    let parts: Vec<String> = key.split('/').map(url_encoded).collect();
    format!("/v1/kv/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_directly_below_counts() {
        let told = json!([
            {"Key": "p/nodes", "Value": null},
            {"Key": "p/nodes/a:1", "Value": "YTox", "Session": "s", "LockIndex": 1},
            {"Key": "p/nodes/x/b:1", "Value": "YTox"},
            {"Key": "p/nodesX/c:1", "Value": "YTox"},
        ]);
        let pairs: Vec<Pair> = serde_json::from_value(told).expect("pairs");
        assert_eq!(values("p/nodes", &pairs), ["a:1"]);
        assert_eq!(key_path("p/a:1"), "/v1/kv/p/a%3A1");
    }
}
