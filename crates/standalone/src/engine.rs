//! One engine behind the manager: what it has, how it is, and the task that keeps this true.
//!
//! The engine's events keep the picture; each names what changed, and that alone is asked for. A stream that broke is
//! taken up where it ended, so nothing that happened meanwhile is missed. Whether the engine is alive comes from three
//! signs together: its stream, the requests that are made of it, and a ping every second.

mod http;
mod record;
mod specs;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::Value;
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use http::{EngineError, Target};
pub(crate) use record::{ImageRecord, Record, Run, cpus_to_shares};
pub(crate) use specs::Specs;
pub(crate) use watch::{read_container, read_images, read_networks, read_volumes, url_encoded};

use crate::discovery::Entry;
use crate::leadership::Leadership;
use crate::scheduler::Node;

/// How an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It was not reached yet.
    Pending,
    /// It answers.
    Healthy,
    /// It did, and does no more.
    Unhealthy,
}

impl Health {
    /// As `docker info` shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Healthy => "Healthy",
            Self::Unhealthy => "Unhealthy",
        }
    }
}

/// What is known of an engine; cheap to copy.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) health: Health,
    pub(crate) specs: Arc<Specs>,
    pub(crate) containers: imbl::OrdMap<String, Record>,
    pub(crate) images: Arc<Vec<ImageRecord>>,
    pub(crate) networks: Arc<Vec<Value>>,
    pub(crate) volumes: Arc<Vec<Value>>,
    /// Failures since it last answered.
    pub(crate) failures: u32,
    /// What went wrong last; empty where nothing did since.
    pub(crate) error: String,
    pub(crate) updated_at: SystemTime,
}

/// Something that happened on an engine, for those who follow events.
#[derive(Debug, Clone)]
pub(crate) struct EngineEvent {
    pub(crate) engine: Arc<Engine>,
    /// The engine's words.
    pub(crate) event: Arc<Value>,
}

/// How engines are dealt with.
#[derive(Debug, Clone)]
pub(crate) struct EngineOptions {
    /// An engine fails so often in a row before it is unhealthy.
    pub(crate) failure_retry: u32,
    /// By how many hundredths more is given away than an engine has.
    pub(crate) overcommit: i64,
    /// Of the manager: only a primary changes anything on an engine.
    pub(crate) leadership: Leadership,
}

/// An engine.
#[derive(Debug)]
pub(crate) struct Engine {
    target: Target,
    options: EngineOptions,
    picture: Mutex<Picture>,
}

/// An engine that is watched for as long as this lives.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) engine: Arc<Engine>,
    _task: AbortOnDropHandle<()>,
}

impl Engine {
    /// Watches the engine at this address; what happens there is told to `events`.
    pub(crate) fn watch(
        entry: &Entry,
        options: EngineOptions,
        events: broadcast::Sender<EngineEvent>,
    ) -> Watched {
        let picture = Picture {
            health: Health::Pending,
            specs: Arc::default(),
            containers: imbl::OrdMap::new(),
            images: Arc::default(),
            networks: Arc::default(),
            volumes: Arc::default(),
            failures: 0,
            error: String::new(),
            updated_at: SystemTime::now(),
        };
        let engine = Arc::new(Self {
            target: Target::new(entry.to_string()).obeying(options.leadership.clone()),
            options,
            picture: Mutex::new(picture),
        });
        let task = tokio::spawn(watch::run(engine.clone(), events));
        Watched { engine, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// `host:port`
    pub(crate) fn addr(&self) -> &str {
        self.target.addr()
    }

    /// The address without its port.
    pub(crate) fn ip(&self) -> String {
        Entry::parse(self.addr()).map(|entry| entry.host).unwrap_or_default()
    }

    /// What is known now.
    pub(crate) fn picture(&self) -> Picture {
        self.lock().clone()
    }

    /// `ID|host:port`; empty while it is not known.
    pub(crate) fn id(&self) -> String {
        let picture = self.lock();
        match picture.health {
            Health::Pending => String::new(),
            _ => format!("{}|{}", picture.specs.id, self.addr()),
        }
    }

    /// The host's name.
    pub(crate) fn name(&self) -> String {
        self.lock().specs.name.clone()
    }

    /// Whether it answers.
    pub(crate) fn is_healthy(&self) -> bool {
        self.lock().health == Health::Healthy
    }

    /// Whether it answered once, and does no more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lock().health == Health::Unhealthy
    }

    /// How the scheduler sees it; none where it was never reached.
    pub(crate) fn node(&self) -> Option<Node> {
        let picture = self.picture();
        if picture.health == Health::Pending {
            return None;
        }
        let containers: Vec<_> =
            picture.containers.values().map(|record| record.container.clone()).collect();
        let more = |amount: i64| amount + amount.saturating_mul(self.options.overcommit) / 100;
        Some(Node {
            id: self.id(),
            name: picture.specs.name.clone(),
            labels: picture.specs.labels.clone(),
            total_memory: more(picture.specs.memory),
            total_cpus: more(picture.specs.cpus),
            used_memory: containers.iter().map(|container| container.memory).sum(),
            used_cpus: containers.iter().map(|container| container.cpus).sum(),
            health: self.score(&picture),
            containers,
            images: picture.images.iter().map(|record| record.image.clone()).collect(),
        })
    }

    fn score(&self, picture: &Picture) -> i64 {
        let retry = i64::from(self.options.failure_retry.max(1));
        match picture.health {
            Health::Healthy => (100 - i64::from(picture.failures) * 100 / retry).max(0),
            Health::Pending | Health::Unhealthy => 0,
        }
    }

    /// Notes what came of a request.
    pub(crate) fn note<T>(&self, result: &Result<T, EngineError>) {
        let mut picture = self.lock();
        match result {
            Err(error) if error.is_connection() => {
                picture.failures = picture.failures.saturating_add(1);
                picture.error = error.to_string();
                picture.updated_at = SystemTime::now();
                if picture.health == Health::Healthy
                    && picture.failures >= self.options.failure_retry
                {
                    picture.health = Health::Unhealthy;
                    tracing::error!(
                        name = picture.specs.name,
                        id = picture.specs.id,
                        "Flagging engine as unhealthy. Connect failed {} times",
                        picture.failures
                    );
                }
            }
            _ => {
                let failures = std::mem::take(&mut picture.failures);
                picture.error.clear();
                if picture.health == Health::Unhealthy {
                    picture.health = Health::Healthy;
                    tracing::info!(
                        name = picture.specs.name,
                        id = picture.specs.id,
                        "Engine came back to life after {failures} retries. Hooray!"
                    );
                }
            }
        }
    }

    /// The containers by their state.
    pub(crate) fn count(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for record in self.lock().containers.values() {
            *counts.entry(record.run.name()).or_default() += 1;
        }
        counts
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Picture)) {
        change(&mut self.lock());
    }

    // A panic while it is held leaves a picture that the next events mend.
    fn lock(&self) -> MutexGuard<'_, Picture> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
