//! ZooKeeper, by a client library.
//!
//! A claim is an ephemeral node: it goes with its owner's session. A lock is a folder of ephemeral nodes with numbers, as
//! in docker/libkv's `store/zookeeper`; who has the lowest has the lock. Each candidate's nodes have a mark of its own,
//! so that it knows those that an earlier session of its left behind.
//!
//! A server answers reads while it is cut off from the others, so a lock is confirmed by a write. And a server tells the
//! leader only now and then which sessions live: of a session's time a third is left for that.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

use super::{
    CONNECT_TIMEOUT, Claim, Holding, REQUEST_TIMEOUT, Session, Store, StoreError, TellHolder,
    TellValues,
};
use crate::discovery::StoreUrl;

/// The session that reads and keeps claims; ZooKeeper sees for itself that an agent is gone.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// What the numbers of a lock's nodes come after.
const LOCK_MARK: &str = "-lock-";
/// Digits of such a number.
const NUMBER_DIGITS: usize = 10;

const FOLDER: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
const NUMBERED: CreateOptions<'static> =
    CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());

/// A ZooKeeper.
#[derive(Debug)]
pub(super) struct ZooKeeper {
    hosts: String,
    /// What this candidate's nodes of locks begin with.
    mark: String,
    common: Mutex<Option<Client>>,
    locking: Mutex<Option<Client>>,
}

impl ZooKeeper {
    pub(super) fn new(url: &StoreUrl) -> Self {
        let mark: [u8; 16] = rand::random();
        let mark: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            hosts: url.hosts.join(","),
            mark: format!("_c_{mark}{LOCK_MARK}"),
            common: Mutex::default(),
            locking: Mutex::default(),
        }
    }

    /// The client in this place, or a new one where that one's session is over.
    async fn client(
        &self,
        place: &Mutex<Option<Client>>,
        timeout: Duration,
    ) -> Result<Client, StoreError> {
        let mut place = place.lock().await;
        if let Some(client) = place.as_ref().filter(|client| !client.state().is_terminated()) {
            return Ok(client.clone());
        }
        let connector = Client::connector()
            .with_session_timeout(timeout)
            .with_connection_timeout((timeout / 3).max(CONNECT_TIMEOUT));
        let connecting =
            tokio::time::timeout(REQUEST_TIMEOUT, connector.connect(&self.hosts)).await;
        let client =
            connecting.unwrap_or(Err(Error::Timeout)).map_err(|error| self.problem(&error))?;
        *place = Some(client.clone());
        Ok(client)
    }

    async fn common(&self) -> Result<Client, StoreError> {
        self.client(&self.common, SESSION_TIMEOUT).await
    }

    /// Waits for an answer, but not for ever.
    async fn within<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, request).await;
        answer.unwrap_or(Err(Error::Timeout)).map_err(|error| self.problem(&error))
    }

    async fn make_folder(&self, client: &Client, path: &str) -> Result<(), StoreError> {
        self.within(client.mkdir(path, &FOLDER)).await
    }

    /// What a node holds; none where it is gone.
    async fn data(&self, client: &Client, path: &str) -> Result<Option<String>, StoreError> {
        let read = async {
            match client.get_data(path).await {
                Ok((data, _)) => Ok(Some(String::from_utf8_lossy(&data).into_owned())),
                Err(Error::NoNode) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.within(read).await
    }

    async fn delete(&self, client: &Client, path: &str) -> Result<(), StoreError> {
        let delete = async {
            match client.delete(path, None).await {
                Err(error) if error != Error::NoNode => Err(error),
                _ => Ok(()),
            }
        };
        self.within(delete).await
    }

    /// The values of these nodes of a folder; of those that were read before, what was read then.
    async fn read(
        &self,
        client: &Client,
        folder: &str,
        names: Vec<String>,
        known: &mut BTreeMap<String, String>,
    ) -> Result<Vec<String>, StoreError> {
        let mut read = BTreeMap::new();
        for name in names {
            let value = match known.remove(&name) {
                Some(value) => Some(value),
                None => self.data(client, &format!("{folder}/{name}")).await?,
            };
            read.extend(value.map(|value| (name, value)));
        }
        known.clone_from(&read);
        Ok(read.into_values().collect())
    }

    async fn try_follow(&self, path: &str, tell: TellValues<'_>) -> Result<(), StoreError> {
        let folder = absolute(path);
        let client = self.common().await?;
        self.make_folder(&client, &folder).await?;
        let mut known = BTreeMap::new();
        loop {
            let (names, change) = self.within(client.list_and_watch_children(&folder)).await?;
            tell(self.read(&client, &folder, names, &mut known).await?);
            wait_for(&client, change).await;
        }
    }

    async fn try_follow_holder(&self, key: &str, tell: TellHolder<'_>) -> Result<(), StoreError> {
        let folder = absolute(key);
        let client = self.common().await?;
        self.make_folder(&client, &folder).await?;
        loop {
            let (names, change) = self.within(client.list_and_watch_children(&folder)).await?;
            let holder = match lowest(&names) {
                // The original's nodes are empty, and the holder is written in the folder.
                Some(name) => match self.data(&client, &format!("{folder}/{name}")).await? {
                    Some(empty) if empty.is_empty() => self.data(&client, &folder).await?,
                    holder => holder,
                },
                None => None,
            };
            tell(holder.filter(|holder| !holder.is_empty()));
            wait_for(&client, change).await;
        }
    }

    /// This candidate's node of the lock's folder, for this session; those of earlier ones go.
    async fn own_node(
        &self,
        client: &Client,
        folder: &str,
        claim: &Claim,
    ) -> Result<String, StoreError> {
        let names = self.within(client.list_children(folder)).await?;
        let mut own = None;
        for name in names.into_iter().filter(|name| name.starts_with(&self.mark)) {
            let path = format!("{folder}/{name}");
            let stat = self.within(client.check_stat(&path)).await?;
            match stat.is_some_and(|stat| stat.ephemeral_owner == client.session_id().0) {
                true => own = Some(name),
                false => self.delete(client, &path).await?,
            }
        }
        if let Some(own) = own {
            return Ok(own);
        }
        let prefix = format!("{folder}/{}", self.mark);
        let made = self.within(client.create(&prefix, claim.value.as_bytes(), &NUMBERED)).await?;
        Ok(format!("{}{}", self.mark, made.1))
    }

    fn problem(&self, error: &Error) -> StoreError {
        let store = format!("zookeeper at {}", self.hosts);
        let problem = error.to_string();
        match error {
            Error::NoAuth | Error::AuthFailed | Error::BadArguments(_) | Error::InvalidAcl => {
                StoreError::Refused { store, problem }
            }
            Error::UnmarshalError { .. } => StoreError::Nonsense { store, problem },
            _ => StoreError::Unavailable { store, problem },
        }
    }
}

#[async_trait]
impl Store for ZooKeeper {
    async fn register(&self, claim: &Claim) -> Result<(), StoreError> {
        let client = self.common().await?;
        let path = absolute(&claim.key);
        let stat = self.within(client.check_stat(&path)).await?;
        if let Some(stat) = stat {
            if stat.ephemeral_owner == client.session_id().0 {
                return self
                    .within(client.set_data(&path, claim.value.as_bytes(), None))
                    .await
                    .map(drop);
            }
            // Of an agent that was here before: replaced at once, so that nobody misses it.
            let replace = async {
                let mut writer = client.new_multi_writer();
                writer.add_delete(&path, None)?;
                writer.add_create(&path, claim.value.as_bytes(), &EPHEMERAL)?;
                writer.commit().await.map_err(|error| Error::UnexpectedError(error.to_string()))
            };
            return self.within(replace).await.map(drop);
        }
        if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            self.make_folder(&client, folder).await?;
        }
        self.within(client.create(&path, claim.value.as_bytes(), &EPHEMERAL)).await.map(drop)
    }

    async fn values(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let folder = absolute(path);
        let client = self.common().await?;
        let listed = async {
            match client.list_children(&folder).await {
                Err(Error::NoNode) => Ok(Vec::new()),
                listed => listed,
            }
        };
        let names = self.within(listed).await?;
        self.read(&client, &folder, names, &mut BTreeMap::new()).await
    }

    async fn follow(&self, path: &str, tell: TellValues<'_>) -> StoreError {
        match self.try_follow(path, tell).await {
            Err(error) => error,
            Ok(()) => self.problem(&Error::ConnectionLoss),
        }
    }

    async fn follow_holder(&self, key: &str, tell: TellHolder<'_>) -> StoreError {
        match self.try_follow_holder(key, tell).await {
            Err(error) => error,
            Ok(()) => self.problem(&Error::ConnectionLoss),
        }
    }

    async fn hold(
        &self,
        claim: &Claim,
        session: &mut Option<Session>,
    ) -> Result<Holding, StoreError> {
        let client = self.client(&self.locking, session_timeout(claim.ttl)).await?;
        let folder = absolute(&claim.key);
        self.make_folder(&client, &folder).await?;
        let own = self.own_node(&client, &folder, claim).await?;
        let path = format!("{folder}/{own}");
        *session = Some(Session(path.clone()));
        // A write, which only the servers together can do.
        let value = claim.value.as_bytes();
        let stat = self.within(client.set_data(&path, value, None)).await?;
        let names = self.within(client.list_children(&folder)).await?;
        if lowest(&names) != Some(own.as_str()) {
            *session = None;
            self.delete(&client, &path).await?;
            return Ok(Holding::Others);
        }
        if stat.version <= 1 {
            self.within(client.set_data(&folder, value, None)).await?;
        }
        let sure = client.session_timeout() / 3 * 2;
        Ok(Holding::Ours { fence: stat.czxid.unsigned_abs(), sure })
    }

    async fn release(&self, claim: &Claim, session: Session) -> Result<(), StoreError> {
        let client = self.client(&self.locking, session_timeout(claim.ttl)).await?;
        self.delete(&client, &session.0).await
    }
}

/// Waits until a folder has changed, or its session is over.
async fn wait_for(client: &Client, change: zookeeper_client::OneshotWatcher) {
    let mut state = client.state_watcher();
    let over = async { while !state.changed().await.is_terminated() {} };
    tokio::select! {
        _ = change.changed() => {}
        () = over => {}
    }
}

/// ZooKeeper ends sessions at its ticks, which are two seconds apart: up to so much later than it was asked to.
fn session_timeout(ttl: Duration) -> Duration {
    ttl / 4 * 3
}

/// Paths begin with a slash.
fn absolute(path: &str) -> String {
    format!("/{path}")
}

/// The node of a lock's folder with the lowest number.
fn lowest(names: &[String]) -> Option<&str> {
    let number = |name: &String| {
        let at = name.len().checked_sub(NUMBER_DIGITS)?;
        let number: u64 =
            name.contains(LOCK_MARK).then(|| name.get(at..)?.parse().ok()).flatten()?;
        Some(number)
    };
    let numbered = names.iter().filter_map(|name| Some((number(name)?, name)));
    numbered.min().map(|(_, name)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_has_the_lock() {
        let names = ["_c_ff-lock-0000000012", "_c_aa-lock-0000000013", "other", "x-lock-1"];
        let names = names.map(str::to_owned);
        assert_eq!(lowest(&names), Some("_c_ff-lock-0000000012"));
        assert_eq!(lowest(&names[2..]), None);
    }
}
