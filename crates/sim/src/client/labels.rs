//! What clients ask for by labels, where a run is to have them.

use swarm_proto::v1::ServiceSpec;
use swarm_proto::v1::service_spec::Mode;

use super::{GLOBAL, GLOBAL_JOB, JOB};
use crate::random::Random;

/// Gives most jobs of the first two clients a schedule, and some services a hold, a preference for what comes back, or
/// both.
pub(super) fn add(spec: &mut ServiceSpec, client: usize, number: usize, random: &mut Random) {
    let mut labels: Vec<(&str, &str)> = Vec::new();
    match number {
        JOB | GLOBAL_JOB if client < 2 => {
            labels.push(("swarm.cron", "*/5 * * * * *"));
            let policy = ["forbid", "allow", "replace"][random.below(3)];
            labels.push(("swarm.cron.concurrency", policy));
            if let (Some(Mode::ReplicatedJob(job)), "allow") = (&mut spec.mode, policy) {
                job.max_concurrent = job.total_completions;
            }
        }
        0 | 1 | GLOBAL => labels.push(("swarm.hold", ["0s", "2s", "10s"][random.below(3)])),
        _ => {}
    }
    if number == 0 {
        labels.push(("swarm.return", ["newest", "original", "original"][random.below(3)]));
    }
    let annotations = spec.annotations.get_or_insert_default();
    annotations
        .labels
        .extend(labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
}
