//! `docker system df`: what images, containers and volumes take.
//!
//! Answered in the form of API versions before 1.52, which every client reads.

use serde_json::{Map, Value, json};

use crate::engine_backend::{ListContainers, ListImages};
use crate::error::ApiError;
use crate::http::filters::Filters;
use crate::state::ApiState;

pub(super) async fn disk_usage(state: &ApiState, kinds: &[String]) -> Result<Value, ApiError> {
    const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(ApiError::invalid(format!("unknown object type: {unknown}")));
    }
    let wants = |kind: &str| kinds.is_empty() || kinds.iter().any(|k| k == kind);
    let mut usage = Map::new();
    if wants("image") {
        let images =
            state.engine.list_images(ListImages { all: true, ..Default::default() }).await?;
        usage.insert(
            "LayersSize".to_owned(),
            json!(images.iter().map(|image| image.size).sum::<i64>()),
        );
        usage.insert("Images".to_owned(), json!(images));
    }
    if wants("container") {
        let options = ListContainers { all: true, size: true, ..Default::default() };
        usage.insert("Containers".to_owned(), json!(state.engine.list_containers(options).await?));
    }
    if wants("volume") {
        usage.insert(
            "Volumes".to_owned(),
            json!(state.engine.list_volumes(Filters::default()).await?),
        );
    }
    if wants("build-cache") {
        usage.insert("BuildCache".to_owned(), json!([]));
    }
    usage.insert("BuilderSize".to_owned(), json!(0));
    Ok(Value::Object(usage))
}
