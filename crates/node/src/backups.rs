//! A manager's own backups: one in a folder from time to time, while it is a manager.
//!
//! Every manager that is told to keeps its own, whoever leads: a backup that lies on one machine only goes with it.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_manager::{BackupError, BackupFolder, BackupSource};
use tracing::{info, warn};

use crate::post::Post;

/// A failure may pass with the election of a leader, or when the disk has room again.
const RETRY: Duration = Duration::from_secs(60);
/// Elections are over by then, as after the daemon's start.
const ELECTION: Duration = Duration::from_secs(5);
/// Whether this node is a manager is looked at again after this.
const WAIT: Duration = Duration::from_secs(1);

/// Keeps backups until the future is dropped.
pub(crate) async fn keep_backups(post: Arc<Post>, folder: BackupFolder) {
    let mut awaits_leader = false;
    loop {
        let Some(source) = post.backups().await else {
            tokio::time::sleep(WAIT).await;
            continue;
        };
        let due_in = folder.due_in(source.cluster_id(), SystemTime::now());
        if !due_in.is_zero() {
            // The node may stop being a manager meanwhile, and the clock may be set.
            tokio::time::sleep(due_in.min(RETRY)).await;
            continue;
        }
        match keep(&source, folder.clone()).await {
            Ok(()) => awaits_leader = false,
            Err(BackupError::NoLeader(_)) if !awaits_leader => {
                awaits_leader = true;
                tokio::time::sleep(ELECTION.min(folder.interval)).await;
            }
            Err(error) => {
                tell_failure(&folder, &error);
                tokio::time::sleep(RETRY.min(folder.interval)).await;
            }
        }
    }
}

fn tell_failure(folder: &BackupFolder, error: &BackupError) {
    let cause = error.source().map(tracing::field::display);
    warn!(folder = %folder.path.display(), %error, cause, "no backup was kept");
}

async fn keep(source: &BackupSource, folder: BackupFolder) -> Result<(), BackupError> {
    let (backup, file) = source.file(None).await?;
    let kept = tokio::task::spawn_blocking(move || folder.add(&backup, &file));
    let path = kept.await.map_err(|_| BackupError::Seal)??;
    info!(file = %path.display(), "a backup was kept");
    Ok(())
}
