//! The schedule of a job: `swarm.cron` and what goes with it.
//!
//! ```text
//! swarm.cron              five fields, six with seconds in front, or @hourly, @daily, @weekly, @monthly, @yearly
//! swarm.cron.timezone     whose wall clock the fields mean (IANA name); UTC
//! swarm.cron.concurrency  what a tick does while the job still runs: forbid, allow, replace; forbid
//! swarm.cron.deadline     how late a tick may start the job; 1h
//! ```
//!
//! Where clocks change, a time of day that does not exist fires at the first instant after the gap, and one that exists
//! twice at its first occurrence. What is given as an interval (several or all hours, minutes or seconds) goes on as
//! time does: as in Vixie cron, it neither pauses nor catches up. Time zones come with the executable, so that all
//! managers of a version agree.

use std::time::{Duration, SystemTime};

use croner::Cron;
use croner::parser::{CronParser, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use swarm_proto::v1::ServiceSpec;
use swarm_proto::v1::service_spec::Mode;

use super::duration::duration;
use super::{Labels, OptionError};

const EXPRESSION: &str = "swarm.cron";
const ZONE: &str = "swarm.cron.timezone";
const CONCURRENCY: &str = "swarm.cron.concurrency";
const DEADLINE: &str = "swarm.cron.deadline";
/// All of them.
pub(super) const LABELS: [&str; 4] = [EXPRESSION, ZONE, CONCURRENCY, DEADLINE];

const DEADLINE_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// A tick is noticed some milliseconds after its time at best, and a change of leader takes a second.
const DEADLINE_MIN: Duration = Duration::from_secs(1);
const DEADLINE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Whether a schedule has any tick is asked from here: 2000-01-01.
const ERA: Duration = Duration::from_secs(946_684_800);

/// What a tick does while the job still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Concurrency {
    /// Nothing: it is skipped.
    Forbid,
    /// Starts another run beside the one before.
    Allow,
    /// Stops what runs and starts anew.
    Replace,
}

/// When a job is due, and what that means.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    cron: Cron,
    zone: TimeZone,
    pub(crate) concurrency: Concurrency,
    /// How late a tick may be and still start the job.
    pub(crate) deadline: Duration,
}

/// Refuses schedules that can't be followed.
pub(super) fn check(spec: &ServiceSpec, labels: &Labels) -> Result<(), OptionError> {
    let Some(schedule) = read(labels)? else { return Ok(()) };
    let expression = &labels[EXPRESSION];
    match &spec.mode {
        Some(Mode::ReplicatedJob(job))
            if schedule.concurrency == Concurrency::Allow
                && job.max_concurrent < job.total_completions =>
        {
            let problem = "needs a job that runs all of its tasks at once: --max-concurrent may not be lower than --replicas";
            return Err(OptionError::new(CONCURRENCY, &labels[CONCURRENCY], problem));
        }
        Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)) => {}
        _ => {
            let problem = "only jobs have a schedule: create the service with --mode replicated-job or global-job";
            return Err(OptionError::new(EXPRESSION, expression, problem));
        }
    }
    if schedule.next_after(SystemTime::UNIX_EPOCH + ERA).is_none() {
        return Err(OptionError::new(EXPRESSION, expression, "this time never comes"));
    }
    Ok(())
}

/// What a service's ticks follow from, as it is noted beside them; none where it has no schedule. Costs no parsing.
pub(crate) fn text(spec: Option<&ServiceSpec>) -> Option<String> {
    let spec =
        spec.filter(|spec| matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_))))?;
    let labels = &spec.annotations.as_ref()?.labels;
    let zone = labels.get(ZONE).map_or("UTC", String::as_str);
    labels.get(EXPRESSION).map(|expression| format!("{expression} {zone}"))
}

/// What a tick does while the job still runs; none where there is no schedule, or none that can be followed.
pub(crate) fn concurrency(spec: Option<&ServiceSpec>) -> Option<Concurrency> {
    let labels = &spec?.annotations.as_ref()?.labels;
    labels.contains_key(EXPRESSION).then(|| read_concurrency(labels).ok()).flatten()
}

impl Schedule {
    /// A job's schedule; none where it has none, or none that can be followed.
    pub(crate) fn of(spec: Option<&ServiceSpec>) -> Option<Self> {
        text(spec)?;
        read(&spec?.annotations.as_ref()?.labels).ok().flatten()
    }

    /// The first tick after an instant.
    pub(crate) fn next_after(&self, at: SystemTime) -> Option<SystemTime> {
        let tick = self.cron.find_next_occurrence(&self.local(at)?, false).ok()?;
        Some(tick.into()).filter(|tick| *tick > at)
    }

    /// The last tick until an instant, that one included.
    pub(crate) fn last_until(&self, at: SystemTime) -> Option<SystemTime> {
        let tick = self.cron.find_previous_occurrence(&self.local(at)?, true).ok()?;
        Some(tick.into()).filter(|tick| *tick <= at)
    }

    fn local(&self, at: SystemTime) -> Option<Zoned> {
        Some(Timestamp::try_from(at).ok()?.to_zoned(self.zone.clone()))
    }
}

fn read(labels: &Labels) -> Result<Option<Schedule>, OptionError> {
    let Some(expression) = labels.get(EXPRESSION) else {
        let stray =
            [ZONE, CONCURRENCY, DEADLINE].into_iter().find(|name| labels.contains_key(*name));
        let problem = "means nothing without the label swarm.cron, which says when the job runs";
        return stray.map_or(Ok(None), |name| Err(OptionError::new(name, &labels[name], problem)));
    };
    let zone = labels.get(ZONE).map_or("UTC", String::as_str);
    let zone = TimeZone::get(zone).map_err(|_| {
        let problem = "no such time zone; expected a name such as Europe/Berlin or UTC";
        OptionError::new(ZONE, zone, problem)
    })?;
    let deadline = duration(labels, DEADLINE, DEADLINE_MIN..=DEADLINE_MAX)?;
    Ok(Some(Schedule {
        cron: read_expression(expression)?,
        zone,
        concurrency: read_concurrency(labels)?,
        deadline: deadline.unwrap_or(DEADLINE_DEFAULT),
    }))
}

fn read_expression(expression: &str) -> Result<Cron, OptionError> {
    let parser = CronParser::builder().year(Year::Disallowed).build();
    let alias = expression.trim().eq_ignore_ascii_case("@midnight").then_some("@daily");
    parser.parse(alias.unwrap_or(expression)).map_err(|error| {
        let error = error.to_string();
        let problem = format!(
            "{}; expected five fields (minute, hour, day of month, month, day of week), six with seconds in front, \
             or @hourly, @daily, @weekly, @monthly or @yearly",
            error.trim_end_matches('.')
        );
        OptionError::new(EXPRESSION, expression, problem)
    })
}

fn read_concurrency(labels: &Labels) -> Result<Concurrency, OptionError> {
    match labels.get(CONCURRENCY).map(String::as_str) {
        None | Some("forbid") => Ok(Concurrency::Forbid),
        Some("allow") => Ok(Concurrency::Allow),
        Some("replace") => Ok(Concurrency::Replace),
        Some(other) => {
            Err(OptionError::new(CONCURRENCY, other, "expected forbid, allow or replace"))
        }
    }
}

#[cfg(test)]
mod tests;
