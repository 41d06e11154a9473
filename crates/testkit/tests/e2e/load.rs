//! Clients that write while managers are lost, and whether what was acknowledged is still there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Engine, wait_until};

use crate::support::{PATIENCE, services, try_request};

/// Between a client's writes: a load, and not all that the machine can do, of which elections need their part.
const PACE: Duration = Duration::from_millis(20);

/// Clients that create services through each manager in turn, whatever it answers.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    /// When the newest of the accepted writes was asked for.
    newest: Arc<Mutex<Instant>>,
    clients: Vec<JoinHandle<Written>>,
}

/// What the clients were answered.
#[derive(Default)]
pub(crate) struct Written {
    acknowledged: Vec<Write>,
    /// The longest wait for an answer.
    pub(crate) longest: Duration,
}

/// A service whose creation was acknowledged.
struct Write {
    name: String,
    asked: Instant,
    accepted: Instant,
}

impl Load {
    /// Starts so many clients, whose services' names begin with a new prefix.
    pub(crate) fn start(cluster: &Cluster, prefix: &str, clients: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let newest = Arc::new(Mutex::new(Instant::now()));
        let sockets: Vec<PathBuf> = cluster.daemons().iter().map(Engine::socket).collect();
        let start = |client| {
            let (sockets, until, newest) = (sockets.clone(), over.clone(), newest.clone());
            let prefix = format!("{prefix}{client}");
            std::thread::spawn(move || write(&sockets, client, &prefix, &until, &newest))
        };
        Self { clients: (0..clients).map(start).collect(), over, newest }
    }

    /// Waits until a write is accepted that was asked for after an event. Asks no manager, which costs them nothing.
    #[track_caller]
    pub(crate) fn await_write_after(&self, event: Instant) {
        wait_until(PATIENCE, "a write to be accepted", || {
            (*self.newest.lock().expect("no client panicked") > event).then_some(())
        });
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

fn write(
    sockets: &[PathBuf],
    client: usize,
    prefix: &str,
    until: &AtomicBool,
    newest: &Mutex<Instant>,
) -> Written {
    let mut written = Written::default();
    for number in 0.. {
        if until.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{number}");
        let asked = Instant::now();
        if create(&sockets[(client + number) % sockets.len()], &name) == Some(201) {
            let mut newest = newest.lock().expect("no client panicked");
            *newest = asked.max(*newest);
            written.acknowledged.push(Write { name, asked, accepted: Instant::now() });
        }
        written.longest = written.longest.max(asked.elapsed());
        std::thread::sleep(PACE);
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

    /// The times from each event to the first accepted write that was asked for after it, sorted.
    #[track_caller]
    pub(crate) fn first_after(&self, events: &[Instant]) -> Vec<Duration> {
        let first = |event: &Instant| {
            let after = self.acknowledged.iter().filter(|write| write.asked > *event);
            after.map(|write| write.accepted - *event).min().expect("a write was accepted")
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
            for Write { name, .. } in &self.acknowledged {
                assert!(kept.binary_search(name).is_ok(), "{name} is lost");
            }
        }
    }
}
