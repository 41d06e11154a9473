//! What a task says that is ready on its node and not started yet: why, and until when.
//!
//! Times are those of the day: what is said in `docker service ps` is read later than it was written.

use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::{Task, TaskState};
use swarm_store::Tables;

use crate::backoff::failures_before;
use crate::delay::Delay;
use crate::slot::SlotKey;
use crate::task::{is_dead, observed, status_time};

/// A task says why it waits once it has been ready for so long: most updates are done with it by then.
pub(crate) const TELL_AFTER: Duration = Duration::from_millis(500);
/// A time of the day without its date is clear if it is no further away.
const CLOCK_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// What a task should say that is held back by `delay`; nothing while its own state says enough.
pub(crate) fn reason(
    now: SystemTime,
    tables: &Tables,
    task: &Task,
    delay: &Delay,
) -> Option<String> {
    if observed(task) != TaskState::Ready as i32 || delay.failed {
        return None;
    }
    if now >= delay.start_at {
        let (_, until) = delay.wait_for.as_ref()?;
        return Some(format!(
            "starts when the task before it has stopped, at {} at the latest",
            clock(now, *until)
        ));
    }
    let failures = match failures_before(task) {
        0 => String::new(),
        1 => " after 1 failure".to_owned(),
        count => format!(" after {count} failures in a row"),
    };
    let cause = cause(tables, task).map(|cause| format!(": {cause}")).unwrap_or_default();
    Some(format!("restarts at {}{failures}{cause}", clock(now, delay.start_at)))
}

/// Why the task before it ended, if that is still known.
fn cause(tables: &Tables, task: &Task) -> Option<String> {
    let tasks = SlotKey::find(tables, task).tasks(tables);
    let ended = tasks.iter().filter(|other| is_dead(other) && other.id != task.id);
    let err = &ended.max_by_key(|other| status_time(other))?.status.as_ref()?.err;
    (!err.is_empty()).then(|| err.clone())
}

fn clock(now: SystemTime, at: SystemTime) -> String {
    let mut time = from_system_time(at);
    time.nanos = 0;
    if at.duration_since(now).is_ok_and(|away| away > CLOCK_MAX) {
        return time.to_string();
    }
    let second = time.seconds.rem_euclid(24 * 60 * 60);
    format!("{:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{RestartBackoff, TaskStatus};

    use super::*;

    #[test]
    fn a_task_that_waits_says_why_and_until_when() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let ended = Task {
            id: "old".into(),
            service_id: "s".into(),
            slot: 1,
            status: Some(TaskStatus {
                state: TaskState::Failed as i32,
                err: "task: non-zero exit (1)".into(),
                ..TaskStatus::default()
            }),
            ..Task::default()
        };
        let mut tables = Tables::default();
        tables.create(ended).expect("new");
        let ready = TaskState::Ready;
        let before = Some(("old".to_owned(), at(7_260)));
        for (state, failures, start_at, wait_for, failed, expect) in [
            (ready, 0, 7_205, &None, false, "restarts at 02:00:05 UTC: task: non-zero exit (1)"),
            (
                ready,
                1,
                7_205,
                &None,
                false,
                "restarts at 02:00:05 UTC after 1 failure: task: non-zero exit (1)",
            ),
            (
                ready,
                4,
                100_000,
                &None,
                false,
                "restarts at 1970-01-02T03:46:40Z after 4 failures in a row: task: non-zero exit (1)",
            ),
            (
                ready,
                0,
                7_200,
                &before,
                false,
                "starts when the task before it has stopped, at 02:01:00 UTC at the latest",
            ),
            (ready, 0, 7_200, &None, false, ""),
            (ready, 0, 7_205, &None, true, ""),
            (TaskState::Preparing, 0, 7_205, &None, false, ""),
            (TaskState::Pending, 0, 7_205, &None, false, ""),
        ] {
            let backoff = RestartBackoff { failures, until: None };
            let task = Task {
                id: "new".into(),
                service_id: "s".into(),
                slot: 1,
                status: Some(TaskStatus { state: state as i32, ..TaskStatus::default() }),
                restart_backoff: (failures > 0).then(|| Box::new(backoff)),
                ..Task::default()
            };
            let delay =
                Delay { start_at: at(start_at), wait_for: wait_for.clone(), failed, tell_at: None };
            let said = reason(at(7_200), &tables, &task, &delay);
            assert_eq!(said.unwrap_or_default(), expect);
        }
    }
}
