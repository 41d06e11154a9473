//! Who leads, how it is reached, and what to say when nobody does.

use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use swarm_ca::Credentials;
use swarm_proto::Channel;
use swarm_proto::v1::Node;
use swarm_raft::Status as RaftStatus;
use tokio::sync::watch;
use tonic::Status;

use crate::group::{Group, health};

/// SwarmKit's text; Docker's users search for it.
const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.";
/// Before the others are asked for signs of life, an election gets a chance.
const PROBE_AFTER: Duration = Duration::from_millis(300);
/// A manager that does not answer in this time is named as out of reach.
const PROBE_MAX: Duration = Duration::from_millis(500);
/// A leader that was just deposed may still answer what it had done, also when there is a new one.
const LAST_WORD: Duration = Duration::from_millis(150);
/// As [`PROBE_MAX`], for a call that has waited until its leader was deposed; that took up to an election's time.
const LAST_PROBE_MAX: Duration = Duration::from_millis(300);
/// What is known of a call that was not answered.
const UNDER_WAY: &str = "the request was under way: it may have been carried out, or not";
/// A manager that is further behind lets the leader answer.
const CATCH_UP_MAX: Duration = Duration::from_millis(300);
/// So long nobody is asked again who is out of reach, nor waited for.
const VERDICT_MAX: Duration = Duration::from_secs(2);

/// Who leads.
pub(super) enum Leader {
    /// This manager.
    Own,
    /// Another one.
    Other(Other),
}

/// Another manager that leads.
pub(super) struct Other {
    pub(super) raft_id: u64,
    pub(super) addr: String,
}

/// The way to the leader.
pub(crate) struct Leaders {
    group: Group,
    pub(super) own_addr: String,
    /// The connection to the newest leader.
    line: Mutex<Option<(String, Channel)>>,
    /// When nobody was found to lead, and who was out of reach then.
    verdict: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Leaders {
    pub(crate) fn new(group: Group, own_addr: String) -> Self {
        Self { group, own_addr, line: Mutex::default(), verdict: Mutex::default() }
    }

    pub(super) fn is_leading(&self) -> bool {
        self.group.is_leading()
    }

    pub(super) fn knows_cluster(&self) -> bool {
        self.group.store.view().cluster().is_some()
    }

    /// Whether this manager has applied all that the leader had committed when this was called.
    pub(super) async fn caught_up(&self) -> bool {
        let Some(node) = self.group.node().filter(|node| node.status().leader.is_some()) else {
            return false;
        };
        matches!(tokio::time::timeout(CATCH_UP_MAX, node.read_index()).await, Ok(Ok(Ok(_))))
    }

    /// The leader, waiting for one until `deadline`; not `lost`, which does not answer.
    ///
    /// # Errors
    /// What users are told.
    pub(super) async fn find(
        &self,
        deadline: Instant,
        lost: Option<u64>,
    ) -> Result<Leader, Status> {
        let Some(node) = self.group.node() else {
            return Err(Status::unavailable("this manager has not joined the others yet"));
        };
        let mut status = node.watch();
        let found = self.wait(&mut status, lost);
        let silent = async {
            // One command makes several calls, and is to be answered within a second all the same.
            if let Some(silent) = self.verdict() {
                return silent;
            }
            tokio::time::sleep(PROBE_AFTER).await;
            let silent = self.silent(PROBE_MAX).await;
            tokio::time::sleep_until(deadline.into()).await;
            *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), silent.clone()));
            silent
        };
        tokio::select! {
            biased;
            leader = found => leader,
            silent = silent => Err(no_leader(&silent)),
        }
    }

    fn verdict(&self) -> Option<Vec<String>> {
        let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, silent) = verdict.as_ref()?;
        (at.elapsed() < VERDICT_MAX).then(|| silent.clone())
    }

    async fn wait(
        &self,
        status: &mut watch::Receiver<RaftStatus>,
        lost: Option<u64>,
    ) -> Result<Leader, Status> {
        loop {
            let now = status.borrow_and_update().clone();
            if now.serving {
                return Ok(Leader::Own);
            }
            if let Some(raft_id) = now.leader.filter(|id| *id != now.id && Some(*id) != lost)
                && let Some(addr) = self.group.transport.address(raft_id)
            {
                return Ok(Leader::Other(Other { raft_id, addr }));
            }
            if now.stopped || status.changed().await.is_err() {
                return Err(Status::unavailable("this manager is stopping"));
            }
        }
    }

    /// The managers that do not answer, as users know them.
    async fn silent(&self, probe_max: Duration) -> Vec<String> {
        let own = self.group.node().map_or(0, |node| node.status().id);
        let tables = self.group.store.view();
        let others = self.group.members.list().into_iter().filter(|member| member.raft_id != own);
        let asked = others.map(|member| {
            let node = tables.get::<Node>(&member.node_id).cloned();
            async move {
                let addr = self.group.transport.address(member.raft_id).unwrap_or(member.addr);
                let answered = health::check(&self.group.materials, &addr, probe_max).await;
                let description = node.as_ref().and_then(|node| node.description.as_ref());
                let name = description.map_or(member.node_id.as_str(), |d| d.hostname.as_str());
                answered.is_err().then(|| format!("{name} ({addr})"))
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Resolves some time after a leader was deposed while a call to it was under way: what to say if it has not
    /// answered until then.
    pub(super) async fn gone(&self, raft_id: u64) -> Status {
        self.deposed(raft_id).await;
        let deposed = Instant::now();
        let succeeded = async {
            tokio::time::sleep(LAST_WORD).await;
            match self.group.node().map(swarm_raft::RaftNode::watch) {
                Some(mut status) => drop(status.wait_for(|now| now.leader.is_some()).await),
                None => std::future::pending().await,
            }
        };
        // The others are asked meanwhile: the call has waited for long already.
        let silent = async {
            let silent = self.silent(LAST_PROBE_MAX).await;
            tokio::time::sleep_until((deposed + LAST_PROBE_MAX).into()).await;
            silent
        };
        tokio::select! {
            () = succeeded => Status::unavailable(format!("the leader changed while {UNDER_WAY}")),
            silent = silent => lost(&silent),
        }
    }

    /// Resolves once another manager leads, or none.
    pub(super) fn deposed(&self, raft_id: u64) -> impl Future<Output = ()> + Send + use<> {
        let status = self.group.node().map(swarm_raft::RaftNode::watch);
        async move {
            if let Some(mut status) = status {
                // A closed channel means that this member has stopped, which ends its calls too.
                let _ = status.wait_for(|now| now.leader != Some(raft_id)).await;
            }
        }
    }

    pub(super) fn channel(&self, addr: &str) -> Result<Channel, Status> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = &*line
            && known == addr
        {
            return Ok(channel.clone());
        }
        let credentials = Credentials::Member(self.group.materials.clone());
        let channel = swarm_ca::connect(addr, credentials)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        *line = Some((addr.to_owned(), channel.clone()));
        Ok(channel)
    }

    /// The next call dials anew.
    pub(super) fn hang_up(&self, addr: &str) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.take_if(|(known, _)| known == addr);
    }
}

fn no_leader(silent: &[String]) -> Status {
    match silent {
        [] => Status::unknown(NO_LEADER),
        silent => Status::unknown(format!(
            "{NO_LEADER} Managers that cannot be reached: {}.",
            silent.join(", ")
        )),
    }
}

/// The same to whose request was under way.
fn lost(silent: &[String]) -> Status {
    let status = no_leader(silent);
    let said = format!("{} The leader was lost while {UNDER_WAY}.", status.message());
    Status::new(status.code(), said)
}

/// Whether an error shows that no connection came about, so that nothing was sent.
pub(super) fn is_unreached(error: &(dyn Error + 'static)) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::TimedOut
        )
    })
}

/// The text of what went wrong first.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let first = causes(error).last().unwrap_or(error);
    match first.downcast_ref::<io::Error>() {
        // The library's words for it are for programmers.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed".to_owned()
        }
        _ => first.to_string(),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use swarm_proto::channel::ChannelError;

    use super::*;

    #[test]
    fn tells_calls_that_were_not_sent() {
        for (kind, expect) in [
            (io::ErrorKind::ConnectionRefused, true),
            (io::ErrorKind::TimedOut, true),
            (io::ErrorKind::ConnectionReset, false),
            (io::ErrorKind::BrokenPipe, false),
        ] {
            let error = ChannelError::new(io::Error::from(kind));
            assert_eq!(is_unreached(&error), expect, "{kind}");
        }
    }

    #[test]
    fn names_who_is_out_of_reach() {
        assert_eq!(no_leader(&[]).message(), NO_LEADER);
        let named = no_leader(&["node2 (10.0.0.2:2377)".to_owned()]);
        assert!(named.message().starts_with(NO_LEADER));
        assert!(named.message().ends_with("cannot be reached: node2 (10.0.0.2:2377)."));
    }

    #[test]
    fn a_request_whose_leader_was_lost_is_not_said_to_have_failed() {
        let lost = lost(&["node2 (10.0.0.2:2377)".to_owned()]);
        assert_eq!(lost.code(), no_leader(&[]).code());
        assert!(lost.message().starts_with(NO_LEADER), "{lost}");
        assert!(lost.message().contains("(10.0.0.2:2377). The leader was lost"), "{lost}");
        assert!(lost.message().ends_with("it may have been carried out, or not."), "{lost}");
    }
}
