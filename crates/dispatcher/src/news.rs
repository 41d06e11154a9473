//! What a commit is to the dispatcher: which nodes' streams to look at, and which nodes are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use swarm_proto::v1::Volume;
use swarm_store::{Change, Commit, Delta, Kind};

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
