//! Cuts changes into a chained sequence of assignment messages, each small enough.
//!
//! The first message of a stream is COMPLETE: an agent stops and removes every task that it does not name. So it names
//! all tasks that the agent may have begun (beyond ASSIGNED) whatever their size, then as much of the rest as
//! fits; what is left follows as INCREMENTAL. Mirrors the sequence of SwarmKit's `Dispatcher.Assignments`, which
//! does not cut.

use prost::Message as _;
use swarm_proto::v1::assignment::Item;
use swarm_proto::v1::assignments_message::Type;
use swarm_proto::v1::{AssignmentChange, AssignmentsMessage, TaskState};

use crate::assignments::state;
use crate::config::{CHANGES_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX};

/// Numbers messages and cuts changes into them; one per stream.
#[derive(Debug)]
pub struct Sequence {
    last: u64,
    bytes_max: usize,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { last: 0, bytes_max: MESSAGE_BYTES_MAX }
    }
}

impl Sequence {
    /// The messages that carry these changes. The first call of a sequence always yields a COMPLETE message first,
    /// later ones yield nothing for no changes.
    pub fn cut(&mut self, changes: Vec<AssignmentChange>) -> Vec<AssignmentsMessage> {
        let mut messages = Vec::new();
        let mut rest = changes;
        if self.last == 0 {
            let (complete, incremental) = self.split_complete(rest);
            messages.push(self.message(Type::Complete, complete));
            rest = incremental;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for change in rest {
            let size = size(&change);
            let is_full = batch.len() >= CHANGES_PER_MESSAGE_MAX || bytes + size > self.bytes_max;
            if is_full && !batch.is_empty() {
                messages.push(self.message(Type::Incremental, std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += size;
            batch.push(change);
        }
        if !batch.is_empty() {
            messages.push(self.message(Type::Incremental, batch));
        }
        messages
    }

    /// What must be in the COMPLETE message or fits in, and the rest, each in the order that it had.
    fn split_complete(
        &self,
        changes: Vec<AssignmentChange>,
    ) -> (Vec<AssignmentChange>, Vec<AssignmentChange>) {
        let mut bytes: usize = changes.iter().filter(|change| is_begun(change)).map(size).sum();
        let mut is_full = false;
        changes.into_iter().partition(|change| {
            if is_begun(change) {
                return true;
            }
            // Once something was left out, so is all that comes after it: a task never precedes its secrets.
            is_full |= bytes + size(change) > self.bytes_max;
            if !is_full {
                bytes += size(change);
            }
            !is_full
        })
    }

    fn message(&mut self, kind: Type, changes: Vec<AssignmentChange>) -> AssignmentsMessage {
        let applies_to = if self.last == 0 { String::new() } else { self.last.to_string() };
        self.last += 1;
        AssignmentsMessage {
            r#type: kind as i32,
            applies_to,
            results_in: self.last.to_string(),
            changes,
        }
    }
}

/// Bytes of a change within a message, with its tag and length.
fn size(change: &AssignmentChange) -> usize {
    change.encoded_len() + 6
}

/// Whether the change is a task that the agent may already have begun.
fn is_begun(change: &AssignmentChange) -> bool {
    match change.assignment.as_ref().and_then(|assignment| assignment.item.as_ref()) {
        Some(Item::Task(task)) => state(task) > TaskState::Assigned as i32,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{Assignment, Secret, SecretSpec, Task, TaskStatus};

    use super::*;

    fn change(item: Item) -> AssignmentChange {
        AssignmentChange { assignment: Some(Assignment { item: Some(item) }), action: 0 }
    }

    fn task(id: &str, state: TaskState) -> AssignmentChange {
        let status = Some(TaskStatus { state: state as i32, ..TaskStatus::default() });
        change(Item::Task(Task { id: id.to_owned(), status, ..Task::default() }))
    }

    fn secret(id: &str, bytes: usize) -> AssignmentChange {
        let spec = Some(SecretSpec { data: vec![0; bytes], ..SecretSpec::default() });
        change(Item::Secret(Secret { id: id.to_owned(), spec, ..Secret::default() }))
    }

    /// `C ""->1 s1 t1` for every message.
    fn trace(messages: &[AssignmentsMessage]) -> Vec<String> {
        let id = |change: &AssignmentChange| match change.assignment.clone().and_then(|a| a.item) {
            Some(Item::Task(task)) => task.id,
            Some(Item::Secret(secret)) => secret.id,
            _ => "?".to_owned(),
        };
        let line = |message: &AssignmentsMessage| {
            let kind = if message.r#type == Type::Complete as i32 { "C" } else { "I" };
            let ids: Vec<String> = message.changes.iter().map(id).collect();
            format!("{kind} {:?}->{} {}", message.applies_to, message.results_in, ids.join(" "))
        };
        messages.iter().map(line).collect()
    }

    #[test]
    fn cuts_by_size_and_keeps_begun_tasks_in_the_complete_message() {
        let mut sequence = Sequence { bytes_max: 1000, ..Sequence::default() };
        let changes = vec![
            secret("s1", 700),
            secret("s2", 700),
            task("new", TaskState::Assigned),
            task("old", TaskState::Running),
        ];
        let messages = sequence.cut(changes);
        assert_eq!(trace(&messages), ["C \"\"->1 s1 old", "I \"1\"->2 s2 new"]);
        assert!(messages.iter().all(|message| message.encoded_len() <= 1000));
        assert_eq!(trace(&sequence.cut(vec![])), Vec::<String>::new());
        let messages = sequence.cut(vec![secret("s3", 900), secret("s4", 900)]);
        assert_eq!(trace(&messages), ["I \"2\"->3 s3", "I \"3\"->4 s4"]);
    }

    #[test]
    fn an_empty_node_gets_an_empty_complete_message() {
        assert_eq!(trace(&Sequence::default().cut(vec![])), ["C \"\"->1 "]);
    }

    #[test]
    fn cuts_by_count() {
        let mut sequence = Sequence::default();
        sequence.cut(vec![]);
        let changes = (0..250).map(|i| task(&format!("t{i}"), TaskState::Assigned)).collect();
        let counts: Vec<usize> =
            sequence.cut(changes).iter().map(|message| message.changes.len()).collect();
        assert_eq!(counts, [100, 100, 50]);
    }
}
