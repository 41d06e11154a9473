//! Schedules: starts a job's next iteration at each tick, once.
//!
//! ```text
//!  label swarm.cron, now ──► next tick, noted in the job's status ──(its time)──► iteration + 1, or skipped; the next tick
//! ```
//!
//! What a tick did and which is the next stands in the service (`CronStatus`), written in the transaction that starts
//! the iteration. So whoever leads next, and whoever believed to lead, finds the tick done or does it: the log is the
//! fence, and no leader's memory counts. Of ticks that nobody was there for, the last one is caught up with if its
//! deadline allows. Clocks that differ or are set back don't repeat a tick, as the next is later than any that was.
//! Not here: the schedule's meaning (`options::cron`), and a job's tasks (`jobs`). SwarmKit has no such thing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::{from_system_time, to_system_time};
use swarm_proto::v1::{CronStatus, JobStatus, Service, ServiceSpec};
use swarm_store::{Change, ControlLoop, PORTION, Tables, Write};

use crate::jobs;
use crate::options::cron::{Concurrency, Schedule, text};
use crate::plan::first;

/// A clock that was ahead by more than this left ticks behind that are not waited for.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A loop sleeps by a clock that nobody sets: how late it may notice that the other was put forward.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The schedules' state: which tick is due when, read from the services.
#[derive(Debug)]
pub struct Cron {
    due: BTreeSet<(SystemTime, String)>,
    due_of: BTreeMap<String, SystemTime>,
    /// Services whose noted tick is none of their schedule.
    changed: BTreeSet<String>,
    /// When it last planned.
    now: SystemTime,
    is_behind: bool,
}

impl Default for Cron {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
            changed: BTreeSet::new(),
            now: SystemTime::UNIX_EPOCH,
            is_behind: false,
        }
    }
}

impl ControlLoop for Cron {
    fn name(&self) -> &'static str {
        "cron"
    }

    fn resync(&mut self, now: SystemTime, tables: &Tables) {
        *self = Self { now, ..Self::default() };
        tables.iter::<Service>().for_each(|service| self.note(now, service));
    }

    fn observe(&mut self, now: SystemTime, _tables: &Tables, change: &Change) {
        let Change::Service(delta) = change else { return };
        match (&delta.old, &delta.new) {
            (_, Some(new)) => self.note(now, new),
            (Some(old), None) => self.forget(&old.id),
            (None, None) => {}
        }
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        self.now = now;
        let service =
            |id: &String| tables.get::<Service>(id).map(|service| Service::clone(service));
        let changed = first(&mut self.changed, PORTION);
        let mut services: Vec<Service> =
            changed.iter().filter_map(service).map(|service| follow(now, service)).collect();
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<_> = due.take(PORTION).cloned().collect();
        services
            .extend(due.iter().filter_map(|(at, id)| Some(tick(now, *at, tables, service(id)?))));
        self.is_behind = !self.changed.is_empty() || due.len() == PORTION;
        services.into_iter().map(|service| Write::UpdateService(Box::new(service))).collect()
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn wakeup(&self) -> Option<SystemTime> {
        self.due.first().map(|(at, _)| (*at).min(self.now + LOOK_AGAIN))
    }
}

impl Cron {
    /// Takes up where a service stands.
    fn note(&mut self, now: SystemTime, service: &Service) {
        self.forget(&service.id);
        let status = service.job_status.as_ref().and_then(|status| status.cron.as_ref());
        let noted = status.map_or("", |status| status.schedule.as_str());
        let schedule = text(service.spec.as_ref()).unwrap_or_default();
        if noted != schedule || status.is_some_and(|status| is_ahead(now, status)) {
            self.changed.insert(service.id.clone());
        } else if let Some(next) = status.and_then(|status| status.next_tick.as_ref()) {
            let next = to_system_time(next);
            self.due.insert((next, service.id.clone()));
            self.due_of.insert(service.id.clone(), next);
        }
    }

    fn forget(&mut self, id: &str) {
        self.changed.remove(id);
        if let Some(at) = self.due_of.remove(id) {
            self.due.remove(&(at, id.to_owned()));
        }
    }
}

/// Notes the first tick of a service's schedule, which is new or another than before.
fn follow(now: SystemTime, mut service: Service) -> Service {
    let schedule = Schedule::of(service.spec.as_ref());
    let text = text(service.spec.as_ref()).unwrap_or_default();
    // The specification is as old at most as the last write of the service.
    let meta = service.meta.as_ref().and_then(|meta| meta.updated_at.as_ref());
    let mut since = meta.map_or(now, to_system_time).min(now);
    let status = service.job_status.get_or_insert_default().cron.get_or_insert_default();
    if is_ahead(now, status) {
        (status.last_tick, status.last_skipped) = (None, None);
        since = now;
    }
    since = latest(status).map_or(since, |tick| tick.max(since));
    status.schedule = text;
    let next = schedule.and_then(|schedule| schedule.next_after(since));
    status.next_tick = next.map(from_system_time);
    service
}

/// What a tick that is due does: it starts the job, or is skipped.
fn tick(now: SystemTime, at: SystemTime, tables: &Tables, mut service: Service) -> Service {
    let schedule = Schedule::of(service.spec.as_ref());
    let is_over = jobs::is_over(tables, &service);
    let job = service.job_status.get_or_insert_default();
    let status = job.cron.get_or_insert_default();
    let Some(schedule) = schedule else {
        status.next_tick = None;
        return service;
    };
    // Of several that passed, only the last one counts.
    let tick = schedule.last_until(now).map_or(at, |last| last.max(at));
    status.next_tick = schedule.next_after(now).map(from_system_time);
    let is_late = now.duration_since(tick).is_ok_and(|late| late > schedule.deadline);
    if is_late || (schedule.concurrency == Concurrency::Forbid && !is_over) {
        status.last_skipped = Some(from_system_time(tick));
    } else {
        status.last_tick = Some(from_system_time(tick));
        begin_run(job, now);
    }
    service
}

/// Starts a job's next iteration; one that waits for its first has it still before it.
pub fn begin_run(job: &mut JobStatus, now: SystemTime) {
    let iteration = job.job_iteration.get_or_insert_default();
    match job.cron.as_mut().filter(|status| status.awaits_first) {
        Some(status) => status.awaits_first = false,
        None => iteration.index += 1,
    }
    job.last_execution = Some(from_system_time(now));
}

/// What a new job's status says of its schedule: with one, the job waits for its first tick.
pub fn of_new_job(spec: &ServiceSpec) -> Option<CronStatus> {
    text(Some(spec)).map(|_| CronStatus { awaits_first: true, ..CronStatus::default() })
}

/// Whether an update of a job runs it, as Docker's do. One with a schedule, or that had one, runs at once only where
/// that is what the update asks for: by `--force`.
pub fn runs_job(old: Option<&ServiceSpec>, new: &ServiceSpec, is_rollback: bool) -> bool {
    if text(old).is_none() && text(Some(new)).is_none() {
        return true;
    }
    let forced = |spec: &ServiceSpec| spec.task.as_ref().map_or(0, |task| task.force_update);
    !is_rollback && forced(new) != old.map_or(0, forced)
}

/// Whether the last tick lies so far ahead that a clock must have been wrong.
fn is_ahead(now: SystemTime, status: &CronStatus) -> bool {
    latest(status).is_some_and(|tick| tick > now + AHEAD_MAX)
}

/// The last tick that passed, whatever it did.
fn latest(status: &CronStatus) -> Option<SystemTime> {
    [&status.last_tick, &status.last_skipped].into_iter().flatten().map(to_system_time).max()
}
