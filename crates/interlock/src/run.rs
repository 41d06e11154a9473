//! The loop: hints make it look at the cluster, and what it sees there HAProxy is made to serve.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Client, ClientError};
use crate::feed;
use crate::haproxy::{Haproxy, HaproxyError, Refusal};
use crate::pace::Pace;
use crate::plan::{Addresses, Plan, plan};
use crate::render::{TemplateError, backends_of, render};
use crate::settings::Settings;
use crate::state::{Reader, View};

/// How often the cluster is looked at without a hint: for a template that was changed, and for what no event tells.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// In swarm mode no stream of events tells of tasks on other nodes.
const LOOK_INTERVAL_SERVICES: Duration = Duration::from_secs(1);
/// How soon what failed is tried again, doubled each time up to the second.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Who ran so long before it ended did not fail at the start.
const STEADY: Duration = Duration::from_secs(10);

/// Interlock can't run.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("{0}")]
    Haproxy(#[from] HaproxyError),
    #[error("can't listen to signals: {0}")]
    Signals(#[from] io::Error),
}

/// Keeps HAProxy in step until a signal says to end.
///
/// # Errors
/// [`RunError`] if it can't begin.
pub(crate) async fn run(client: Client, settings: Settings) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut keeper = Keeper::new(client, settings)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = quit.recv() => {}
        never = keeper.keep() => match never {},
    }
    tracing::info!("shutting down");
    keeper.haproxy.stop().await;
    Ok(())
}

/// A look at the cluster that came to nothing.
#[derive(Debug, Error)]
enum LookError {
    #[error("{}", .0.told())]
    Cluster(#[from] ClientError),
    #[error("can't read the template {path}: {source}")]
    ReadTemplate { path: String, source: io::Error },
    #[error("the configuration stays as it was: {0}")]
    Template(#[from] TemplateError),
    #[error("haproxy refuses the configuration, which stays as it was: {0}")]
    Refused(Refusal),
    #[error("{0}")]
    Haproxy(HaproxyError),
}

struct Keeper {
    client: Client,
    settings: Settings,
    reader: Reader,
    haproxy: Haproxy,
    pace: Pace,
    interval: Duration,
    /// What was told already, not to be told at each look again.
    told: BTreeSet<String>,
    served: BTreeSet<(String, String)>,
    failure: String,
    /// The last configuration that was wanted, and what was made of it.
    wanted: String,
    retry: Backoff,
    revival: Backoff,
    started_at: Instant,
}

impl Keeper {
    fn new(client: Client, settings: Settings) -> Result<Self, HaproxyError> {
        let now = Instant::now();
        Ok(Self {
            reader: Reader::new(client.clone()),
            haproxy: Haproxy::new(&settings)?,
            client,
            settings,
            pace: Pace::new(now),
            interval: LOOK_INTERVAL,
            told: BTreeSet::new(),
            served: BTreeSet::new(),
            failure: String::new(),
            wanted: String::new(),
            retry: Backoff::default(),
            revival: Backoff::default(),
            started_at: now,
        })
    }

    async fn keep(&mut self) -> std::convert::Infallible {
        let (hints, mut heard) = mpsc::channel(1);
        let feed = tokio::spawn(feed::follow(self.client.clone(), hints));
        let _feed = AbortOnDropHandle::new(feed);
        self.pace.hint(Instant::now());
        let mut next_look = Instant::now() + self.interval;
        loop {
            let due = [self.pace.due(), self.retry.at, self.revival.at, Some(next_look)];
            let due = due.into_iter().flatten().min().unwrap_or(next_look);
            tokio::select! {
                Some(()) = heard.recv() => self.pace.hint(Instant::now()),
                status = self.haproxy.ended() => self.mourn(status),
                () = sleep_until(due.into()) => {
                    let now = Instant::now();
                    if self.revival.take(now) {
                        self.revive().await;
                    }
                    let is_due = self.pace.due().is_some_and(|due| due <= now);
                    if self.retry.take(now) || is_due || next_look <= now {
                        self.look().await;
                        next_look = Instant::now() + self.interval;
                    }
                }
            }
        }
    }

    /// Looks at the cluster, and makes HAProxy serve what is there.
    async fn look(&mut self) {
        self.pace.looked();
        match self.try_look().await {
            Ok(is_reloaded) => {
                self.retry = Backoff::default();
                self.failure.clear();
                if is_reloaded {
                    self.pace.reloaded(Instant::now());
                    tracing::info!("proxy reloaded and ready");
                }
            }
            Err(error) => {
                let words = error.to_string();
                if words != self.failure {
                    tracing::error!("{words}");
                }
                self.failure = words;
                self.retry.again(Instant::now());
            }
        }
    }

    /// Whether HAProxy was made to serve something new.
    async fn try_look(&mut self) -> Result<bool, LookError> {
        let View { candidates, has_services, notices } = self.reader.read().await?;
        self.interval = if has_services { LOOK_INTERVAL_SERVICES } else { LOOK_INTERVAL };
        let addresses = Addresses {
            overriding: self.settings.override_address.as_deref(),
            fallback: self.client.host(),
        };
        let mut planned = plan(candidates, addresses);
        planned.notices.extend(notices);
        self.tell(&planned);
        let template = self.template().await?;
        let text = self.render(template.as_deref(), &planned)?;
        // One that HAProxy was asked for already, whatever it made of it.
        if text == self.wanted && self.haproxy.runs_any() {
            return Ok(false);
        }
        let applied = self.apply(template.as_deref(), &planned, text.clone()).await?;
        self.wanted = text;
        Ok(applied)
    }

    async fn template(&self) -> Result<Option<String>, LookError> {
        let Some(path) = &self.settings.template_path else { return Ok(None) };
        let read = tokio::fs::read_to_string(path).await;
        let failed = |source| LookError::ReadTemplate { path: path.display().to_string(), source };
        read.map(Some).map_err(failed)
    }

    fn render(&self, template: Option<&str>, planned: &Plan) -> Result<String, TemplateError> {
        render(template, &self.settings, &self.haproxy.socket(), &planned.hosts)
    }

    /// Applies a configuration. What HAProxy does not understand of single backends is left out, so that nobody's mistake
    /// is everybody's.
    async fn apply(
        &mut self,
        template: Option<&str>,
        planned: &Plan,
        text: String,
    ) -> Result<bool, LookError> {
        let mut text = text;
        let mut attempt = planned.clone();
        let mut is_plain = false;
        loop {
            if self.haproxy.runs(&text) {
                return Ok(false);
            }
            let refusal = match self.haproxy.apply(&text).await {
                Ok(()) => return Ok(true),
                Err(HaproxyError::Refused(refusal)) => refusal,
                Err(error) => {
                    if matches!(error, HaproxyError::Ended(_)) {
                        self.revival.again(Instant::now());
                    }
                    return Err(LookError::Haproxy(error));
                }
            };
            let mut blamed = backends_of(&text, &refusal.lines);
            let named = attempt.hosts.iter().filter(|host| refusal.names(&host.name));
            blamed.extend(named.map(|host| host.name.clone()));
            if blamed.is_empty() {
                return Err(LookError::Refused(refusal));
            }
            let names = blamed.iter().cloned().collect::<Vec<_>>().join(", ");
            let plainer = attempt.plainer(&blamed);
            attempt = if is_plain || plainer == attempt {
                tracing::warn!("haproxy refuses {names}, left out: {refusal}");
                attempt.without(&blamed)
            } else {
                tracing::warn!("haproxy refuses options of {names}, left out: {refusal}");
                plainer
            };
            is_plain = true;
            text = self.render(template, &attempt)?;
        }
    }

    /// Tells what was not told yet.
    fn tell(&mut self, planned: &Plan) {
        let told: BTreeSet<String> = planned.notices.iter().cloned().collect();
        for notice in told.difference(&self.told) {
            tracing::warn!("{notice}");
        }
        self.told = told;
        let served: BTreeSet<(String, String)> = planned
            .hosts
            .iter()
            .flat_map(|host| {
                let by = format!("{}{}", host.domain, host.context_root);
                host.upstreams.iter().map(move |server| (by.clone(), server.address.clone()))
            })
            .collect();
        for (host, address) in served.difference(&self.served) {
            tracing::info!("{host}: upstream={address}");
        }
        for (host, address) in self.served.difference(&served) {
            tracing::info!("{host}: upstream={address} is gone");
        }
        self.served = served;
    }

    /// HAProxy ended by itself.
    fn mourn(&mut self, status: io::Result<std::process::ExitStatus>) {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!("haproxy has ended ({status}), starting it again");
        let now = Instant::now();
        if now.duration_since(self.started_at) > STEADY {
            self.revival = Backoff::default();
        }
        self.revival.again(now);
    }

    async fn revive(&mut self) {
        if self.haproxy.runs_any() {
            return;
        }
        self.started_at = Instant::now();
        match self.haproxy.start().await {
            Ok(()) => tracing::info!("proxy started again and ready"),
            Err(error) => {
                tracing::error!("{error}");
                self.revival.again(Instant::now());
            }
        }
    }
}

/// When something is tried again.
#[derive(Debug, Clone, Copy, Default)]
struct Backoff {
    at: Option<Instant>,
    pause: Duration,
}

impl Backoff {
    fn again(&mut self, now: Instant) {
        self.at = Some(now + self.pause);
        self.pause = (self.pause * 2).clamp(RETRY_FIRST, RETRY_MAX);
    }

    /// Whether it is time; it is then taken as begun.
    fn take(&mut self, now: Instant) -> bool {
        let is_time = self.at.is_some_and(|at| at <= now);
        if is_time {
            self.at = None;
        }
        is_time
    }
}
