//! Clients that write while managers are lost, and whether what was acknowledged is still there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Engine};

use crate::support::{services, try_request};

/// An answer that was already on its way when a leader was lost is no proof of a new one.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// Clients that create services through each manager in turn, whatever it answers.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Written>>,
}

/// What the clients were answered.
#[derive(Default)]
pub(crate) struct Written {
    /// The names of services whose creation was acknowledged, and when.
    acknowledged: Vec<(String, Instant)>,
    /// The longest wait for an answer.
    pub(crate) longest: Duration,
}

impl Load {
    /// Starts so many clients, whose services' names begin with a new prefix.
    pub(crate) fn start(cluster: &Cluster, prefix: &str, clients: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let sockets: Vec<PathBuf> = cluster.daemons().iter().map(Engine::socket).collect();
        let start = |client| {
            let (sockets, until) = (sockets.clone(), over.clone());
            let prefix = format!("{prefix}{client}");
            std::thread::spawn(move || write(&sockets, client, &prefix, &until))
        };
        Self { clients: (0..clients).map(start).collect(), over }
    }

    /// Ends them.
    pub(crate) fn end(self) -> Written {
        self.over.store(true, Ordering::Relaxed);
        self.clients.into_iter().fold(Written::default(), |mut all, client| {
            let one = client.join().expect("a client");
            all.acknowledged.extend(one.acknowledged);
            all.longest = all.longest.max(one.longest);
            all
        })
    }
}

fn write(sockets: &[PathBuf], client: usize, prefix: &str, until: &AtomicBool) -> Written {
    let mut written = Written::default();
    for number in 0.. {
        if until.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{number}");
        let asked = Instant::now();
        if create(&sockets[(client + number) % sockets.len()], &name) == Some(201) {
            written.acknowledged.push((name, Instant::now()));
        }
        written.longest = written.longest.max(asked.elapsed());
    }
    written
}

/// Creates a service without replicas; the status, if there was an answer.
fn create(socket: &Path, name: &str) -> Option<u16> {
    let body = format!(
        r#"{{"Name":"{name}","Mode":{{"Replicated":{{"Replicas":0}}}},"TaskTemplate":{{"ContainerSpec":{{"Image":"x"}}}}}}"#
    );
    try_request(socket, "POST", "/services/create", body.as_bytes())
}

impl Written {
    /// How many were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The times from each event to the first accepted write after it, sorted.
    #[track_caller]
    pub(crate) fn first_after(&self, events: &[Instant]) -> Vec<Duration> {
        let first = |event: &Instant| {
            let after = self.acknowledged.iter().filter(|(_, at)| *at > *event + ON_ITS_WAY);
            after.map(|(_, at)| *at - *event).min().expect("a write was accepted")
        };
        let mut times: Vec<Duration> = events.iter().map(first).collect();
        times.sort_unstable();
        times
    }

    /// Fails unless every manager has all that was acknowledged.
    #[track_caller]
    pub(crate) fn assert_kept(&self, cluster: &Cluster) {
        for daemon in cluster.daemons() {
            let kept = services(daemon);
            for (name, _) in &self.acknowledged {
                assert!(kept.binary_search(name).is_ok(), "{name} is lost");
            }
        }
    }
}
