//! The load that measurements of managers share: clients that write through several managers at once, what each attempt
//! came to, and whether all that was acknowledged is still there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hyper::Method;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::api::Connection;
use crate::service::spec;
use crate::side::Side;

/// As many as the goals speak of.
pub(super) const CLIENTS: usize = 8;
/// A request that is not answered for so long is made anew.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between a client's writes: a load, and yet a list of services that can be read at the end.
const PAUSE: Duration = Duration::from_millis(20);
/// A pause after a refusal, so that a manager without a leader isn't kept busy by the question.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// A write that was asked for, once.
pub(super) struct Attempt {
    name: String,
    pub(super) asked: Instant,
    /// When it was answered or given up.
    pub(super) over: Instant,
    /// Why it was not acknowledged.
    pub(super) refusal: Option<String>,
}

impl Attempt {
    pub(super) fn is_accepted(&self) -> bool {
        self.refusal.is_none()
    }

    /// How long the client waited.
    pub(super) fn duration(&self) -> Duration {
        self.over - self.asked
    }
}

/// When the first accepted write was acknowledged that was asked for after an event.
pub(super) fn first_after(attempts: &[Attempt], event: Instant) -> Option<Instant> {
    let after = attempts.iter().filter(|attempt| attempt.asked > event && attempt.is_accepted());
    after.map(|attempt| attempt.over).min()
}

/// Clients that create services, each one after the other, whatever they are answered.
pub(super) struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Vec<Attempt>>>>,
}

impl Load {
    /// Starts clients that share these managers. The prefix of their services' names must be new.
    pub(super) fn start(side: &Side, managers: &[usize], clients: usize, prefix: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let start = |(client, manager): (usize, &usize)| {
            let (socket, image) = (side.engine(*manager).socket(), side.image.clone());
            let (prefix, until) = (format!("{prefix}-{manager}-{client}"), over.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(write(socket, image, prefix, &until))
            })
        };
        let clients = managers.iter().cycle().take(clients).enumerate().map(start).collect();
        Self { over, clients }
    }

    /// Ends them; all their attempts.
    pub(super) fn end(self) -> Result<Vec<Attempt>> {
        self.over.store(true, Ordering::Relaxed);
        let mut attempts = Vec::new();
        for client in self.clients {
            attempts.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(attempts)
    }
}

async fn write(
    socket: PathBuf,
    image: String,
    prefix: String,
    until: &AtomicBool,
) -> Result<Vec<Attempt>> {
    let mut connection = Connection::open(&socket).await?;
    let mut attempts = Vec::new();
    for number in 0.. {
        if until.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{number}");
        let body = serde_json::to_vec(&spec(&name, &image, 0))?;
        let asked = Instant::now();
        let answer = connection.send(Method::POST, "/services/create", body.into());
        let answer = timeout(ATTEMPT_TIMEOUT, answer).await;
        let over = Instant::now();
        let refusal = match answer {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => {
                // What is answered late would be taken for the answer to the next.
                connection = Connection::open(&socket).await?;
                Some("no answer".into())
            }
        };
        sleep(if refusal.is_none() { PAUSE } else { REFUSED_PAUSE }).await;
        attempts.push(Attempt { name, asked, over, refusal });
    }
    Ok(attempts)
}

/// All services whose creation was acknowledged.
#[derive(Default)]
pub(super) struct Acknowledged(BTreeSet<String>);

impl Acknowledged {
    /// Remembers those of some attempts.
    pub(super) fn note(&mut self, attempts: Vec<Attempt>) {
        let accepted = attempts.into_iter().filter(Attempt::is_accepted);
        self.0.extend(accepted.map(|attempt| attempt.name));
    }

    /// Fails unless every manager has all of them.
    pub(super) fn check(&self, side: &Side) -> Result<()> {
        for index in 0..side.len() {
            let kept = services(side, index)?;
            let lost: Vec<&String> = self.0.difference(&kept).collect();
            ensure!(lost.is_empty(), "acknowledged services that manager {index} lost: {lost:?}");
        }
        crate::table::progress(&format!("all {} acknowledged writes are there", self.0.len()));
        Ok(())
    }
}

/// The names of all services that a manager knows.
fn services(side: &Side, index: usize) -> Result<BTreeSet<String>> {
    let services = side.client(index)?.get("/services")?;
    let services = services.as_array().context("no list of services")?.iter();
    let name = |service: &Value| service["Spec"]["Name"].as_str().map(str::to_owned);
    Ok(services.filter_map(name).collect())
}
