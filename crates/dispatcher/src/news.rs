//! What a commit is to the dispatcher: which nodes' streams to look at, and which nodes are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use swarm_proto::v1::Volume;
use swarm_store::{Change, Commit, Delta, Kind};

use crate::assignments::may_concern_node;

/// A hint, not a message: what a stream is sent follows from the tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News<'a> {
    /// The nodes, by ID, that may have to be told something.
    pub touched: BTreeSet<&'a str>,
    /// The nodes that were removed.
    pub removed: Vec<&'a str>,
    /// Whether it concerns everybody, the cluster's settings among it.
    pub is_for_all: bool,
}

impl News<'_> {
    /// The tables whose changes are news.
    pub const TABLES: &'static [Kind] = &[Kind::Task, Kind::Node, Kind::Volume, Kind::Cluster];
}

impl<'a> News<'a> {
    /// What there is to it.
    pub fn of(commit: &'a Commit) -> Self {
        if commit.resync {
            return Self { is_for_all: true, ..Self::default() };
        }
        let mut news = Self::default();
        for change in commit.changes.iter() {
            match change {
                Change::Task(Delta { old: Some(old), new: Some(new) })
                    if !may_concern_node(old, new) => {}
                Change::Task(Delta { old, new }) => {
                    news.touched.extend(old.iter().chain(new).map(|task| task.node_id.as_str()));
                }
                Change::Node(Delta { old: Some(node), new: None }) => news.removed.push(&node.id),
                Change::Node(Delta { new, .. }) => {
                    news.touched.extend(new.iter().map(|node| node.id.as_str()));
                }
                Change::Volume(Delta { old, new }) => {
                    news.touched.extend(old.iter().chain(new).flat_map(publishers));
                }
                Change::Cluster(_) => news.is_for_all = true,
                _ => {}
            }
        }
        news
    }
}

fn publishers(volume: &Arc<Volume>) -> impl Iterator<Item = &str> {
    volume.publish_status.iter().map(|status| status.node_id.as_str())
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{
        Cluster, Node, Service, Task, TaskState, TaskStatus, VolumePublishStatus,
    };
    use swarm_store::Tables;

    use super::*;

    /// What happens, the change, the nodes touched, the nodes removed, and whether it is for all.
    type Case<'a> = (&'a str, Change, &'a [&'a str], &'a [&'a str], bool);

    fn task(node_id: &str) -> Arc<Task> {
        Arc::new(Task { node_id: node_id.into(), ..Task::default() })
    }

    fn node(id: &str) -> Arc<Node> {
        Arc::new(Node { id: id.into(), ..Node::default() })
    }

    fn volume(nodes: &[&str]) -> Arc<Volume> {
        let status = |node: &&str| VolumePublishStatus {
            node_id: (*node).into(),
            ..VolumePublishStatus::default()
        };
        Arc::new(Volume { publish_status: nodes.iter().map(status).collect(), ..Volume::default() })
    }

    #[test]
    fn a_commit_concerns_the_nodes_it_has_something_for() {
        let report = |state: TaskState| {
            let status = TaskStatus { state: state.into(), ..TaskStatus::default() };
            Some(Arc::new(Task { status: Some(status), ..Task::clone(&task("h")) }))
        };
        let cases: [Case<'_>; 10] = [
            (
                "new task",
                Change::Task(Delta { old: None, new: Some(task("a")) }),
                &["a"],
                &[],
                false,
            ),
            (
                "task that was placed",
                Change::Task(Delta { old: Some(task("")), new: Some(task("b")) }),
                &["", "b"],
                &[],
                false,
            ),
            (
                "gone task",
                Change::Task(Delta { old: Some(task("c")), new: None }),
                &["c"],
                &[],
                false,
            ),
            (
                "changed node",
                Change::Node(Delta { old: Some(node("d")), new: Some(node("d")) }),
                &["d"],
                &[],
                false,
            ),
            (
                "gone node",
                Change::Node(Delta { old: Some(node("e")), new: None }),
                &[],
                &["e"],
                false,
            ),
            (
                "volume that moves",
                Change::Volume(Delta { old: Some(volume(&["f"])), new: Some(volume(&["f", "g"])) }),
                &["f", "g"],
                &[],
                false,
            ),
            (
                "settings",
                Change::Cluster(Delta { old: None, new: Some(Arc::new(Cluster::default())) }),
                &[],
                &[],
                true,
            ),
            (
                "what the agent says itself",
                Change::Task(Delta {
                    old: report(TaskState::Preparing),
                    new: report(TaskState::Running),
                }),
                &[],
                &[],
                false,
            ),
            (
                "end, which releases secrets",
                Change::Task(Delta {
                    old: report(TaskState::Running),
                    new: report(TaskState::Failed),
                }),
                &["h"],
                &[],
                false,
            ),
            (
                "service",
                Change::Service(Delta { old: None, new: Some(Arc::new(Service::default())) }),
                &[],
                &[],
                false,
            ),
        ];
        for (what, change, touched, removed, is_for_all) in cases {
            let is_watched = News::TABLES.contains(&change.kind());
            let commit =
                Commit { tables: Tables::default(), changes: Arc::new([change]), resync: false };
            let news = News::of(&commit);
            assert_eq!(news.touched, touched.iter().copied().collect(), "{what}");
            assert_eq!(news.removed, removed, "{what}");
            assert_eq!(news.is_for_all, is_for_all, "{what}");
            assert!(
                is_watched || news == News::default(),
                "{what}: tables that are news are watched"
            );
        }
    }

    #[test]
    fn a_snapshot_concerns_everybody() {
        let commit = Commit { tables: Tables::default(), changes: Arc::new([]), resync: true };
        assert!(News::of(&commit).is_for_all);
    }
}
