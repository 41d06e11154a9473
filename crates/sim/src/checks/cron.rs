//! Schedules: a tick starts a job once, and nothing else but an update does.

use std::time::SystemTime;

use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::{CronStatus, Service};
use swarm_store::{Change, Commit, Delta};

pub(crate) fn check(commit: &Commit) -> Result<(), String> {
    commit.changes.iter().try_for_each(|change| match change {
        Change::Service(Delta { old: Some(old), new: Some(new) }) => step(old, new),
        _ => Ok(()),
    })
}

/// The next tick of a schedule, if that is over by then: nobody has looked at it.
pub(crate) fn overdue(service: &Service, at: SystemTime) -> Option<SystemTime> {
    let next = status(service).next_tick.as_ref().map(to_system_time);
    next.filter(|next| *next < at)
}

/// Whether a service has a schedule.
pub(crate) fn is_scheduled(service: &Service) -> bool {
    status(service).next_tick.is_some()
}

fn status(service: &Service) -> CronStatus {
    service.job_status.as_ref().and_then(|status| status.cron.clone()).unwrap_or_default()
}

fn iteration(service: &Service) -> u64 {
    let status = service.job_status.as_ref();
    status.and_then(|status| status.job_iteration).map_or(0, |version| version.index)
}

fn step(old: &Service, new: &Service) -> Result<(), String> {
    let (was, is) = (status(old), status(new));
    let runs = iteration(new) - iteration(old) + u64::from(was.awaits_first && !is.awaits_first);
    let is_tick = is.last_tick.is_some() && is.last_tick != was.last_tick;
    let id = &new.id;
    if runs > 0 && !is_tick && old.spec == new.spec {
        return Err(format!(
            "a tick starts a job once: job {id} runs, and neither a tick nor an update began it"
        ));
    }
    if !is_tick {
        return Ok(());
    }
    let time = |at: &Option<_>| at.as_ref().map(to_system_time);
    let before = time(&was.last_tick).max(time(&was.last_skipped));
    if runs != 1 || time(&is.last_tick) <= before {
        return Err(format!(
            "a tick starts a job once: job {id} begins {runs} runs, {was:?} becomes {is:?}"
        ));
    }
    let written = new.meta.as_ref().and_then(|meta| meta.updated_at);
    if time(&is.last_tick) > time(&written) {
        return Err(format!("no tick comes early: job {id} at {written:?}, {is:?}"));
    }
    Ok(())
}
