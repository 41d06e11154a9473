//! All engines together: which there are, who has which container, and where a new one goes.
//!
//! Mirrors docker/swarm's `cluster/swarm`.

mod create;
mod lookup;
pub(crate) mod reschedule;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::discovery::Entry;
use crate::engine::{Engine, EngineOptions, EventHub, Watched};
use crate::scheduler::{Container, Node, PlacementError, Request, Scheduler};

pub(crate) use create::{CreateError, Creation};
pub(crate) use lookup::Found;

/// The pool of engines.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) scheduler: Scheduler,
    /// How often a creation that failed is tried elsewhere (`swarm.createretry`).
    pub(crate) create_retry: u32,
    options: EngineOptions,
    state: Mutex<State>,
    next_pending: AtomicU64,
    /// What happens on all engines.
    pub(crate) events: Arc<EventHub>,
}

#[derive(Debug, Default)]
struct State {
    /// By address.
    engines: BTreeMap<String, Watched>,
    /// Containers that are being made, by a number.
    pending: BTreeMap<u64, Pending>,
}

/// A container that is being made on an engine, and counts there already.
#[derive(Debug)]
struct Pending {
    addr: String,
    name: String,
    container: Arc<Container>,
}

/// The place of a container that is being made; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation<'c> {
    cluster: &'c Cluster,
    number: u64,
    pub(crate) engine: Arc<Engine>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.cluster.lock().pending.remove(&self.number);
    }
}

impl Cluster {
    /// A pool without engines.
    pub(crate) fn new(scheduler: Scheduler, options: EngineOptions, create_retry: u32) -> Self {
        Self {
            scheduler,
            create_retry,
            options,
            state: Mutex::default(),
            next_pending: AtomicU64::new(0),
            events: Arc::default(),
        }
    }

    /// From now on there are these engines; those that were there already are not disturbed.
    pub(crate) fn set_engines(&self, entries: &[Entry]) {
        let wanted: BTreeMap<String, &Entry> =
            entries.iter().map(|entry| (entry.to_string(), entry)).collect();
        let mut state = self.lock();
        state.engines.retain(|addr, watched| {
            let stays = wanted.contains_key(addr);
            if !stays {
                tracing::info!("Removed Engine {} at {addr}", watched.engine.name());
            }
            stays
        });
        for (addr, entry) in wanted {
            let watch = || Engine::watch(entry, self.options.clone(), self.events.clone());
            state.engines.entry(addr).or_insert_with(watch);
        }
    }

    /// The engines, by their addresses.
    pub(crate) fn engines(&self) -> Vec<Arc<Engine>> {
        self.lock().engines.values().map(|watched| watched.engine.clone()).collect()
    }

    /// An engine for a request that any engine can serve.
    pub(crate) fn any_engine(&self) -> Result<Arc<Engine>, PlacementError> {
        self.choose(&Request::default())
    }

    /// The best engine for what is asked.
    pub(crate) fn choose(&self, request: &Request) -> Result<Arc<Engine>, PlacementError> {
        let state = self.lock();
        self.ranked(&state, request)?.into_iter().next().ok_or(PlacementError::NoNodes)
    }

    /// All engines that are good for what is asked, the best one first.
    pub(crate) fn candidates(&self, request: &Request) -> Result<Vec<Arc<Engine>>, PlacementError> {
        self.ranked(&self.lock(), request)
    }

    /// Chooses an engine for a container, which counts there from now on; none of those in `without`.
    pub(crate) fn reserve(
        &self,
        request: &Request,
        name: &str,
        without: &[String],
    ) -> Result<Reservation<'_>, CreateError> {
        let mut state = self.lock();
        if !name.is_empty() && self.is_taken(&state, name) {
            return Err(CreateError::NameTaken(name.to_owned()));
        }
        let ranked = self.ranked(&state, request)?;
        let engine = ranked.iter().find(|engine| !without.iter().any(|addr| addr == engine.addr()));
        // Where all have been tried, the first says once more what is wrong with it.
        let engine = engine.unwrap_or(&ranked[0]).clone();
        let container = Arc::new(Container {
            id: String::new(),
            names: if name.is_empty() { Vec::new() } else { vec![format!("/{name}")] },
            labels: request.labels.clone(),
            memory: request.memory,
            cpus: request.cpus,
            is_host_network: request.is_host_network,
            exposed_ports: request.exposed_ports.clone(),
            bindings: request.bindings.clone(),
        });
        let number = self.next_pending.fetch_add(1, Ordering::Relaxed);
        let addr = engine.addr().to_owned();
        state.pending.insert(number, Pending { addr, name: name.to_owned(), container });
        Ok(Reservation { cluster: self, number, engine })
    }

    fn ranked(&self, state: &State, request: &Request) -> Result<Vec<Arc<Engine>>, PlacementError> {
        let mut engines = Vec::new();
        let mut nodes = Vec::new();
        for watched in state.engines.values() {
            if let Some(view) = watched.engine.view() {
                let mut node = view.node.clone();
                add_pending(state, watched.engine.addr(), &mut node);
                engines.push(&watched.engine);
                nodes.push(node);
            }
        }
        let ranked = self.scheduler.select(&nodes, request)?;
        let by_id: BTreeMap<&str, &Arc<Engine>> =
            nodes.iter().map(|node| node.id.as_str()).zip(engines).collect();
        let engine = |node: &Node| by_id.get(node.id.as_str()).map(|engine| Arc::clone(engine));
        Ok(ranked.into_iter().filter_map(engine).collect())
    }

    fn is_taken(&self, state: &State, name: &str) -> bool {
        let slashed = format!("/{name}");
        let is_there = |watched: &Watched| {
            watched.engine.view().is_some_and(|view| view.names.contains(&slashed))
        };
        state.pending.values().any(|pending| pending.name == name)
            || state.engines.values().any(is_there)
    }

    // A panic while it is held leaves a reservation too many at worst.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the containers that are being made on an engine.
fn add_pending(state: &State, addr: &str, node: &mut Arc<Node>) {
    for pending in state.pending.values().filter(|pending| pending.addr == addr) {
        let node = Arc::make_mut(node);
        node.used_memory += pending.container.memory;
        node.used_cpus += pending.container.cpus;
        node.containers.push(pending.container.clone());
    }
}
