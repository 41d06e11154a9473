//! Health checks: when to probe, what a result makes of a container's health, and how it shows.
//!
//! Decided here without a clock: the loop is in `monitor`, one run of the command in `probe`. Mirrors moby's
//! `daemon/health.go`.

mod monitor;
mod probe;

use std::collections::VecDeque;
use std::time::Duration;

use bollard_stubs::models::{
    ContainerConfig, Health as HealthJson, HealthConfig, HealthStatusEnum, HealthcheckResult,
};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::error::{Error, Result};
use crate::timestamp;
pub use monitor::Verdict;

/// Results that `docker inspect` shows.
const RESULTS_MAX: usize = 5;
/// The shell of `CMD-SHELL` where the image names none.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// The shortest time that a health check may name.
const DURATION_NANOS_MIN: i64 = 1_000_000;

/// How a container with a health check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// As the STATUS column of `docker ps` says it.
    pub(crate) fn in_status(self) -> &'static str {
        match self {
            Self::Starting => "health: starting",
            other => other.as_str(),
        }
    }
}

/// A container's health, as far as it was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) status: HealthStatus,
    pub(crate) failing_streak: i64,
    /// The newest results, oldest first.
    pub(crate) log: VecDeque<ProbeResult>,
}

/// What one run of the check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeResult {
    /// Nanoseconds since the epoch.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// 0 is healthy; -1 that the command could not be run or took too long.
    pub(crate) exit_code: i64,
    pub(crate) output: String,
}

impl Health {
    /// The health of a container that starts; what was found out before stays to be seen.
    pub(crate) fn starting(before: Option<&Self>) -> Self {
        let log = before.map(|health| health.log.clone()).unwrap_or_default();
        Self { status: HealthStatus::Starting, failing_streak: 0, log }
    }

    /// Takes note of a result. Failures within the start period of a container that was never healthy don't count.
    pub(crate) fn observe(&mut self, check: &HealthCheck, result: ProbeResult, started_at: u64) {
        let ran = Duration::from_nanos(result.start.saturating_sub(started_at));
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if self.status != HealthStatus::Starting || ran >= check.start_period {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == RESULTS_MAX {
            self.log.pop_front();
        }
        self.log.push_back(result);
    }

    /// As `docker inspect` shows it.
    pub(crate) fn json(&self) -> HealthJson {
        let result = |result: &ProbeResult| HealthcheckResult {
            start: Some(timestamp::format(result.start)),
            end: Some(timestamp::format(result.end)),
            exit_code: Some(result.exit_code),
            output: Some(result.output.clone()),
        };
        HealthJson {
            status: Some(match self.status {
                HealthStatus::Starting => HealthStatusEnum::STARTING,
                HealthStatus::Healthy => HealthStatusEnum::HEALTHY,
                HealthStatus::Unhealthy => HealthStatusEnum::UNHEALTHY,
            }),
            failing_streak: Some(self.failing_streak),
            log: Some(self.log.iter().map(result).collect()),
        }
    }
}

/// A container's health check with Docker's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) command: Vec<String>,
    /// From the end of a run to the next, and before the first.
    interval: Duration,
    pub(crate) timeout: Duration,
    retries: i64,
    start_period: Duration,
    /// Instead of the interval, while the container starts within its start period.
    start_interval: Duration,
}

impl HealthCheck {
    /// The check of a container; none if it has none, or a kind that does not exist.
    pub(crate) fn of(config: &ContainerConfig) -> Option<Self> {
        let check = config.healthcheck.as_ref()?;
        let (kind, words) = check.test.as_deref()?.split_first()?;
        let shell = || match config.shell.as_deref() {
            Some(shell) if !shell.is_empty() => shell.to_vec(),
            _ => SHELL.map(str::to_owned).to_vec(),
        };
        let command = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => [shell(), words.to_vec()].concat(),
            _ => return None,
        };
        let or = |nanos: Option<i64>, default: u64| {
            let set = nanos.and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0);
            set.map_or(Duration::from_secs(default), Duration::from_nanos)
        };
        Some(Self {
            command,
            interval: or(check.interval, 30),
            timeout: or(check.timeout, 30),
            retries: check.retries.filter(|retries| *retries > 0).unwrap_or(3),
            start_period: or(check.start_period, 0),
            start_interval: or(check.start_interval, 5),
        })
    }

    /// How long to wait for the next run, `ran` after the container's start.
    pub(crate) fn pause(&self, status: HealthStatus, ran: Duration) -> Duration {
        match status {
            HealthStatus::Starting if ran < self.start_period => self.start_interval,
            _ => self.interval,
        }
    }
}

impl Record {
    /// The health of a container that runs and is checked.
    pub(crate) fn health_status(&self) -> Option<HealthStatus> {
        self.state.health.as_ref().map(|health| health.status)
    }
}

/// Refuses times and counts that no check can have, in Docker's words.
pub(crate) fn check(config: &ContainerConfig) -> Result<()> {
    let Some(check) = &config.healthcheck else { return Ok(()) };
    for (what, nanos) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if nanos.is_some_and(|nanos| nanos != 0 && nanos < DURATION_NANOS_MIN) {
            let message = format!("{what} in Healthcheck cannot be less than 1ms");
            return Err(Error::invalid(message));
        }
    }
    if check.retries.is_some_and(|retries| retries < 0) {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

/// Fills what the user left open from the image's check.
pub(crate) fn merge(own: &mut Option<HealthConfig>, image: Option<HealthConfig>) {
    let Some(image) = image else { return };
    let Some(own) = own else {
        *own = Some(image);
        return;
    };
    if own.test.as_deref().unwrap_or_default().is_empty() {
        own.test = image.test;
    }
    for (own, image) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.retries, image.retries),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
    ] {
        if own.unwrap_or(0) == 0 {
            *own = image;
        }
    }
}

#[cfg(test)]
mod tests;
