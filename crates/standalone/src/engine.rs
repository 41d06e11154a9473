//! One engine behind the manager: what it has, how it is, and the task that keeps this true.
//!
//! The engine's events keep the picture; each names what changed, and that alone is asked for. A stream that broke is
//! taken up where it ended, so nothing that happened meanwhile is missed. Whether the engine is alive comes from three
//! signs together: its stream, the requests that are made of it, and a ping every second.

mod connect;
mod error;
mod events;
mod follow;
mod http;
mod read;
mod record;
mod specs;
mod watch;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use error::EngineError;
pub(crate) use events::{EngineEvent, EventHub, Origin};
pub(crate) use follow::EVENT_BYTES_MAX;
pub(crate) use http::{Bounds, Target};
pub(crate) use read::{Depth, read_all, read_container, read_images, read_networks, read_volumes};
pub(crate) use record::{ImageRecord, Record, Run, cpus_to_shares};
pub(crate) use specs::Specs;

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
    /// Changed by [`Picture::put`] and [`Picture::forget`] only.
    pub(crate) containers: imbl::OrdMap<String, Arc<Record>>,
    /// How much they take, as the engine writes them.
    container_bytes: usize,
    pub(crate) images: Arc<Vec<ImageRecord>>,
    pub(crate) networks: Arc<Vec<Value>>,
    pub(crate) volumes: Arc<Vec<Value>>,
    /// Failures since it last answered.
    pub(crate) failures: u32,
    /// What went wrong last; empty where nothing did since.
    pub(crate) error: String,
    pub(crate) updated_at: SystemTime,
    /// How the scheduler sees all this, until it changes.
    view: Option<Arc<View>>,
}

/// An engine as the scheduler sees it, kept because all engines are looked at for each container.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) node: Arc<Node>,
    /// The names of its containers, each with its slash.
    pub(crate) names: HashSet<String>,
}

/// The containers of one engine may take so much, as it writes them.
const CONTAINER_BYTES_MAX: usize = 128 << 20;

impl Picture {
    fn blank() -> Self {
        Self {
            health: Health::Pending,
            specs: Arc::default(),
            containers: imbl::OrdMap::new(),
            container_bytes: 0,
            images: Arc::default(),
            networks: Arc::default(),
            volumes: Arc::default(),
            failures: 0,
            error: String::new(),
            updated_at: SystemTime::now(),
            view: None,
        }
    }

    /// Nothing is known any longer.
    fn begin_anew(&mut self) {
        *self = Self::blank();
    }

    /// Memory in bytes, and processors, that the containers reserve.
    pub(crate) fn used(&self) -> (i64, i64) {
        self.containers.values().fold((0, 0), |(memory, cpus): (i64, i64), record| {
            let container = &record.container;
            (memory.saturating_add(container.memory), cpus.saturating_add(container.cpus))
        })
    }

    /// The containers by their state.
    pub(crate) fn count(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for record in self.containers.values() {
            *counts.entry(record.run.name()).or_default() += 1;
        }
        counts
    }

    /// Puts a container in, or what is known of it now; false where there is no room.
    pub(crate) fn put(&mut self, record: impl Into<Arc<Record>>) -> bool {
        let record = record.into();
        self.forget(&record.container.id);
        if self.container_bytes + record.bytes > CONTAINER_BYTES_MAX {
            return false;
        }
        self.container_bytes += record.bytes;
        self.containers.insert(record.container.id.clone(), record);
        true
    }

    /// Takes a container out.
    pub(crate) fn forget(&mut self, id: &str) {
        if let Some(record) = self.containers.remove(id) {
            self.container_bytes -= record.bytes;
        }
    }
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
    /// Between two looks at everything that an engine has: at least, and at most.
    pub(crate) refresh: (Duration, Duration),
    /// With what certificate engines are dialled, and whose they must have.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
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
    pub(crate) fn watch(entry: &Entry, options: EngineOptions, events: Arc<EventHub>) -> Watched {
        let engine = Arc::new(Self {
            target: Target::new(entry.to_string(), options.tls.clone())
                .obeying(options.leadership.clone()),
            options,
            picture: Mutex::new(Picture::blank()),
        });
        let task = tokio::spawn(watch::run(engine.clone(), events));
        Watched { engine, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    fn options(&self) -> &EngineOptions {
        &self.options
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
        self.id_in(&self.lock())
    }

    fn id_in(&self, picture: &Picture) -> String {
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
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        let mut picture = self.lock();
        if picture.health == Health::Pending {
            return None;
        }
        if picture.view.is_none() {
            picture.view = Some(Arc::new(self.look(&picture)));
        }
        picture.view.clone()
    }

    fn look(&self, picture: &Picture) -> View {
        let names = picture.containers.values().flat_map(|record| record.container.names.clone());
        let names = names.collect();
        let containers: Vec<_> =
            picture.containers.values().map(|record| record.container.clone()).collect();
        let (used_memory, used_cpus) = picture.used();
        let node = Node {
            id: self.id_in(picture),
            name: picture.specs.name.clone(),
            labels: picture.specs.labels.clone(),
            total_memory: self.with_overcommit(picture.specs.memory),
            total_cpus: self.with_overcommit(picture.specs.cpus),
            used_memory,
            used_cpus,
            health: self.score(picture),
            containers,
            images: picture.images.iter().map(|record| record.image.clone()).collect(),
        };
        View { node: Arc::new(node), names }
    }

    /// How much is given away of what there is.
    pub(crate) fn with_overcommit(&self, amount: i64) -> i64 {
        amount.saturating_add(amount.saturating_mul(self.options.overcommit) / 100)
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
            Err(EngineError::Broken { .. } | EngineError::NotPrimary) => {}
            Err(error) if error.is_loss() => {
                picture.view = None;
                picture.failures = picture.failures.saturating_add(1);
                picture.error = error.to_string();
                picture.updated_at = SystemTime::now();
                if picture.health == Health::Healthy
                    && picture.failures >= self.options.failure_retry
                {
                    picture.health = Health::Unhealthy;
                    self.target.give_up();
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
                if failures > 0 || picture.health == Health::Unhealthy {
                    picture.view = None;
                }
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

    pub(crate) fn change(&self, change: impl FnOnce(&mut Picture)) {
        let mut picture = self.lock();
        picture.view = None;
        change(&mut picture);
    }

    // A panic while it is held leaves a picture that the next events mend.
    fn lock(&self) -> MutexGuard<'_, Picture> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For a query's value.
pub(crate) fn url_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
