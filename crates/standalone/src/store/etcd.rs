//! etcd, by version 3 of its API.
//!
//! The original spoke version 2, which etcd has no more; keys are those of old without the slash before. A claim is a key with a lease
//! of its own, a lock a key that is written only where there is none.

mod channel;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::hosts::Hosts;
use super::tls::Tls;
use super::{
    ANSWER_BYTES_MAX, Claim, Holding, REQUEST_TIMEOUT, Session, Store, StoreError, TellHolder,
    TellValues,
};
use crate::discovery::StoreUrl;
use pb::compare::{CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::{
    Compare, KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, request_op, response_op,
};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "made from etcd.proto"
)]
mod pb {
    tonic::include_proto!("etcdserverpb");
}

/// A host of it.
#[derive(Debug)]
struct Host {
    addr: String,
    channel: Channel,
}

/// An etcd.
#[derive(Debug)]
pub(super) struct Etcd {
    hosts: Hosts<Host>,
    /// Leases of claims, by their keys.
    leases: Mutex<BTreeMap<String, i64>>,
}

impl Etcd {
    pub(super) fn new(url: &StoreUrl, tls: Option<Tls>) -> Self {
        let tls = tls.map(|tls| tls.speaking("h2"));
        let hosts = url
            .hosts
            .iter()
            .map(|addr| Host { addr: addr.clone(), channel: channel::to(addr, tls.clone()) });
        Self { hosts: Hosts::new(hosts.collect()), leases: Mutex::default() }
    }

    /// Asks one host after the other until one answers.
    async fn ask<T, F>(&self, request: impl Fn(Channel) -> F + Send) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let mut tries = self.hosts.len();
        loop {
            let host = self.hosts.ask();
            let answered =
                tokio::time::timeout(REQUEST_TIMEOUT, request(host.channel.clone())).await;
            let answered = answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
            let error = match answered {
                Ok(answer) => {
                    host.answers();
                    return Ok(answer);
                }
                Err(status) => problem(&host.addr, &status),
            };
            tries -= 1;
            match error {
                StoreError::Unavailable { .. } if tries > 0 => {}
                error => {
                    if !matches!(error, StoreError::Unavailable { .. }) {
                        host.answers();
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn range(&self, key: &[u8], end: &[u8]) -> Result<RangeResponse, StoreError> {
        let request = RangeRequest { key: key.to_vec(), range_end: end.to_vec() };
        self.ask(|channel| {
            let request = request.clone();
            let mut client = KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
            async move { Ok(client.range(request).await?.into_inner()) }
        })
        .await
    }

    async fn transact(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        self.ask(|channel| {
            let request = request.clone();
            async move { Ok(KvClient::new(channel).txn(request).await?.into_inner()) }
        })
        .await
    }

    /// A new lease, with the time that it has.
    async fn grant(&self, ttl: Duration) -> Result<(i64, Duration), StoreError> {
        let request = LeaseGrantRequest { ttl: seconds(ttl) };
        let granted = self.ask(|channel| async move {
            let granted = LeaseClient::new(channel).lease_grant(request).await?.into_inner();
            match granted.error.as_str() {
                "" => Ok((granted.id, length(granted.ttl))),
                error => Err(Status::unknown(error)),
            }
        });
        granted.await
    }

    /// The time that a lease has from now on; none where it is gone.
    async fn keep_alive(&self, id: i64) -> Result<Option<Duration>, StoreError> {
        self.ask(|channel| async move {
            let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
            let mut answers =
                LeaseClient::new(channel).lease_keep_alive(requests).await?.into_inner();
            let answer = answers.message().await?;
            let answer = answer.ok_or_else(|| Status::unavailable("the answer broke off"))?;
            Ok((answer.ttl > 0).then(|| length(answer.ttl)))
        })
        .await
    }

    async fn revoke(&self, id: i64) -> Result<(), StoreError> {
        let revoked = self.ask(|channel| async move {
            match LeaseClient::new(channel).lease_revoke(LeaseRevokeRequest { id }).await {
                Err(status) if status.code() != Code::NotFound => Err(status),
                _ => Ok(()),
            }
        });
        revoked.await
    }

    /// The claim's lease, renewed where there is one that still lives, or a new one.
    async fn lease(&self, claim: &Claim) -> Result<i64, StoreError> {
        let known = self.leases().get(&claim.key).copied();
        if let Some(id) = known
            && self.keep_alive(id).await?.is_some()
        {
            return Ok(id);
        }
        let (id, _) = self.grant(claim.ttl).await?;
        self.leases().insert(claim.key.clone(), id);
        Ok(id)
    }

    // A panic while it is held leaves a lease too few, for which another one is made.
    fn leases(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, i64>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's lease, renewed, or a new one; with the time that it has.
    async fn session(
        &self,
        ttl: Duration,
        session: &mut Option<Session>,
    ) -> Result<(i64, Duration), StoreError> {
        if let Some(id) = session.as_ref().and_then(|session| session.0.parse().ok()) {
            if let Some(length) = self.keep_alive(id).await? {
                return Ok((id, length));
            }
            *session = None;
        }
        let (id, length) = self.grant(ttl).await?;
        *session = Some(Session(id.to_string()));
        Ok((id, length))
    }
}

#[async_trait]
impl Store for Etcd {
    async fn register(&self, claim: &Claim) -> Result<(), StoreError> {
        let lease = self.lease(claim).await?;
        let key = claim.key.clone().into_bytes();
        // Written only where it is not there, so that managers hear of changes alone.
        let is_there = Compare {
            target: CompareTarget::Lease.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::Lease(lease)),
            ..Compare::default()
        };
        let request = TxnRequest {
            compare: vec![is_there],
            success: Vec::new(),
            failure: vec![put(key, claim, lease)],
        };
        self.transact(request).await.map(drop)
    }

    async fn values(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let (from, to) = watch::below(path);
        let read = self.range(&from, &to).await?;
        Ok(watch::Seen::of(path, read.kvs).values())
    }

    async fn follow(&self, path: &str, tell: TellValues<'_>) -> StoreError {
        self.watch(watch::below(path), path, &mut |seen| tell(seen.values())).await
    }

    async fn follow_holder(&self, key: &str, tell: TellHolder<'_>) -> StoreError {
        let parent = key.rsplit_once('/').map_or("", |(parent, _)| parent);
        let range = (key.into(), Vec::new());
        self.watch(range, parent, &mut |seen| tell(seen.values().pop())).await
    }

    async fn hold(
        &self,
        claim: &Claim,
        session: &mut Option<Session>,
    ) -> Result<Holding, StoreError> {
        let (lease, sure) = self.session(claim.ttl, session).await?;
        let key = claim.key.clone().into_bytes();
        let is_free = Compare {
            target: CompareTarget::Create.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::CreateRevision(0)),
            ..Compare::default()
        };
        let read = RangeRequest { key: key.clone(), range_end: Vec::new() };
        let read = RequestOp { request: Some(request_op::Request::RequestRange(read)) };
        let request = TxnRequest {
            compare: vec![is_free],
            success: vec![put(key, claim, lease)],
            failure: vec![read],
        };
        let answer = self.transact(request).await?;
        let ours = |revision: i64| Holding::Ours { fence: revision.unsigned_abs(), sure };
        if answer.succeeded {
            return Ok(ours(answer.header.unwrap_or_default().revision));
        }
        match only(answer) {
            Some(held) if held.lease == lease => Ok(ours(held.create_revision)),
            _ => {
                // Nobody needs it: it would live for its time.
                *session = None;
                self.revoke(lease).await?;
                Ok(Holding::Others)
            }
        }
    }

    async fn release(&self, _: &Claim, session: Session) -> Result<(), StoreError> {
        match session.0.parse() {
            Ok(id) => self.revoke(id).await,
            Err(_) => Ok(()),
        }
    }
}

fn put(key: Vec<u8>, claim: &Claim, lease: i64) -> RequestOp {
    let put = PutRequest { key, value: claim.value.clone().into_bytes(), lease };
    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// The one key that a transaction read.
fn only(answer: TxnResponse) -> Option<KeyValue> {
    match answer.responses.into_iter().next()?.response? {
        response_op::Response::ResponseRange(range) => range.kvs.into_iter().next(),
        response_op::Response::ResponsePut(_) => None,
    }
}

/// Whole seconds, upwards.
fn seconds(length: Duration) -> i64 {
    let whole = length.as_secs() + u64::from(length.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX)
}

fn length(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// What is wrong, in the words of whoever knows.
fn problem(addr: &str, status: &Status) -> StoreError {
    let store = format!("etcd at {addr}");
    let mut problem = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        problem = cause.to_string();
        source = cause.source();
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
            StoreError::Unavailable { store, problem }
        }
        Code::OutOfRange | Code::Internal | Code::DataLoss => {
            StoreError::Nonsense { store, problem }
        }
        _ => StoreError::Refused { store, problem },
    }
}
