//! Running containers, by the list, and each by itself once: what a container was made with never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use serde::Deserialize;

use crate::client::{Client, ClientError};
use crate::plan::{Candidate, Published};

/// So many containers are asked for at a time.
const INSPECTIONS: usize = 16;
/// One that is not told of by then, since its engine hangs, is left out this time.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// What marks a container as a task of a service.
const TASK_LABEL: &str = "com.docker.swarm.task.id";
const DATA: &str = "INTERLOCK_DATA=";

/// An entry of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
struct Port {
    #[serde(rename = "IP", default)]
    ip: String,
    #[serde(rename = "PrivatePort", default)]
    private: u16,
    #[serde(rename = "PublicPort", default)]
    public: u16,
    #[serde(rename = "Type", default)]
    protocol: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    config: Config,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    hostname: String,
    domainname: String,
    env: Option<Vec<String>>,
}

/// What containers were made with, by their IDs.
#[derive(Debug, Default)]
pub(super) struct Containers {
    known: BTreeMap<String, Config>,
}

impl Containers {
    /// Reads those that run, with what went wrong with some of them.
    pub(super) async fn read(
        &mut self,
        client: &Client,
        without_tasks: bool,
    ) -> Result<(Vec<Candidate>, Vec<String>), ClientError> {
        let mut entries: Vec<Entry> = client.get("/containers/json").await?;
        entries.retain(|entry| {
            let is_task = entry.labels.iter().any(|labels| labels.contains_key(TASK_LABEL));
            // Engines before 1.11 list what runs without saying so.
            ["", "running"].contains(&entry.state.as_str())
                && is_id(&entry.id)
                && !(is_task && without_tasks)
        });
        let notices = self.inspect(client, &entries).await;
        let candidates = entries.into_iter().filter_map(|entry| {
            let config = self.known.get(&entry.id)?.clone();
            Some(candidate(entry, config))
        });
        Ok((candidates.collect(), notices))
    }

    async fn inspect(&mut self, client: &Client, entries: &[Entry]) -> Vec<String> {
        let listed: BTreeSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        self.known.retain(|id, _| listed.contains(id.as_str()));
        let new = listed.into_iter().filter(|id| !self.known.contains_key(*id));
        let inspect = |id: &str| {
            let id = id.to_owned();
            async move {
                let path = format!("/containers/{id}/json");
                let asked = client.get::<Inspected>(&path);
                let answer = tokio::time::timeout(INSPECTION_TIMEOUT, asked).await;
                (id, answer)
            }
        };
        let asked: Vec<_> = new.map(inspect).collect();
        let answers: Vec<_> =
            futures::stream::iter(asked).buffer_unordered(INSPECTIONS).collect().await;
        let mut notices = Vec::new();
        for (id, answer) in answers {
            match answer {
                Ok(Ok(Inspected { mut config })) => {
                    // The rest of an environment is nobody's business here.
                    config.env.iter_mut().for_each(|env| env.retain(|e| e.starts_with(DATA)));
                    self.known.insert(id, config);
                }
                // It is gone already.
                Ok(Err(error)) if error.is_not_found() => {}
                Ok(Err(error)) => notices.push(format!("{}: {}", short(&id), error.told())),
                Err(_) => notices.push(format!("{}: its engine does not answer", short(&id))),
            }
        }
        notices
    }
}

fn candidate(entry: Entry, config: Config) -> Candidate {
    // A name with one slash is the container's own, one with two is of a link to it or begins with its node.
    let names = entry.names.unwrap_or_default();
    let name = names.into_iter().min_by_key(|name| name.matches('/').count()).unwrap_or_default();
    let ports = entry.ports.into_iter().flatten();
    let published = ports.filter(|port| port.public > 0 && ["", "tcp"].contains(&&*port.protocol));
    Candidate {
        id: entry.id,
        name: name.trim_start_matches('/').to_owned(),
        hostname: config.hostname,
        domainname: config.domainname,
        labels: entry.labels.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        ports: published
            .map(|port| Published { private: port.private, address: port.ip, public: port.public })
            .collect(),
    }
}

/// Whether it can be part of a path.
fn is_id(id: &str) -> bool {
    (12..=128).contains(&id.len()) && id.chars().all(|c| c.is_ascii_hexdigit())
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
