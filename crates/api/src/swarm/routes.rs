//! Which requests about the swarm itself exist.

use axum::Router;
use axum::routing::{get, post};

use super::backup::{backup, restore};
use super::handlers::{init, inspect, join, leave, unlock, unlock_key, update};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/swarm", get(inspect))
        .route("/swarm/init", post(init))
        .route("/swarm/join", post(join))
        .route("/swarm/leave", post(leave))
        .route("/swarm/update", post(update))
        .route("/swarm/unlockkey", get(unlock_key))
        .route("/swarm/unlock", post(unlock))
        // Ours: Docker has no backups.
        .route("/swarm/backup", post(backup))
        .route("/swarm/restore", post(restore))
}
