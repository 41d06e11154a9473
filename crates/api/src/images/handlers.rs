//! Answers about images.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bollard_stubs::models::{ImageDeleteResponseItem, ImagePruneResponse, ImageSummary};
use futures::{StreamExt, future};
use http::{HeaderMap, StatusCode};

use crate::engine_backend::{ImportImage, ListImages};
use crate::error::ApiError;
use crate::http::params::Params;
use crate::http::registry_auth;
use crate::http::stream::json_lines;
use crate::http::upload::reader;
use crate::state::ApiState;

const LIST_FILTERS: [&str; 6] = ["dangling", "label", "before", "since", "reference", "until"];
const PRUNE_FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Vec<ImageSummary>>, ApiError> {
    let options = ListImages {
        all: params.flag("all"),
        digests: params.flag("digests"),
        filters: params.filters(&LIST_FILTERS)?,
    };
    state.engine.list_images(options).await.map(Json)
}

pub(super) async fn load(
    State(state): State<ApiState>,
    params: Params,
    body: Body,
) -> Result<Response, ApiError> {
    if !params.get("platform").is_empty() {
        return Err(ApiError::not_implemented(
            "loading one platform of an archive is not supported",
        ));
    }
    let quiet = params.flag_or("quiet", true);
    let messages = state.engine.load_images(reader(body)).await?;
    // Quietly only results are told, no progress.
    let told = messages
        .filter(move |message| future::ready(!quiet || message.get("progressDetail").is_none()));
    Ok(json_lines(told))
}

pub(super) async fn save() -> ApiError {
    ApiError::not_implemented("saving images is not supported by this daemon")
}

/// `docker pull` or `docker import`, whichever parameter is there.
pub(super) async fn create(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let platform = params.optional("platform");
    if let Some(image) = params.optional("fromImage") {
        let auth = registry_auth::encoded(&headers);
        let reference = with_tag(&image, params.get("tag"));
        return state.engine.pull_image(&reference, platform, &auth).await.map(json_lines);
    }
    match params.get("fromSrc") {
        "" => Err(ApiError::invalid("either fromImage or fromSrc is required")),
        "-" => {
            let options = ImportImage {
                reference: with_tag(params.get("repo"), params.get("tag")),
                message: params.get("message").to_owned(),
                changes: params.all("changes"),
                platform,
            };
            state.engine.import_image(reader(body), options).await.map(json_lines)
        }
        _ => Err(ApiError::not_implemented(
            "importing from a URL is not supported; send the archive itself",
        )),
    }
}

fn with_tag(name: &str, tag: &str) -> String {
    match tag {
        _ if name.is_empty() => String::new(),
        "" => name.to_owned(),
        tag if tag.contains(':') => format!("{name}@{tag}"),
        tag => format!("{name}:{tag}"),
    }
}

pub(super) async fn read_named(
    State(state): State<ApiState>,
    Path(rest): Path<String>,
) -> Result<Response, ApiError> {
    match rest.rsplit_once('/') {
        Some((name, "json")) => Ok(Json(state.engine.inspect_image(name).await?).into_response()),
        Some((name, "history")) => {
            Ok(Json(state.engine.image_history(name).await?).into_response())
        }
        Some((_, "get")) => {
            Err(ApiError::not_implemented("saving images is not supported by this daemon"))
        }
        _ => Err(ApiError::not_found("page not found")),
    }
}

pub(super) async fn write_named(
    State(state): State<ApiState>,
    Path(rest): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    match rest.rsplit_once('/') {
        Some((name, "tag")) => {
            if params.get("repo").is_empty() {
                return Err(ApiError::invalid("repository name must have at least one component"));
            }
            let reference = with_tag(params.get("repo"), params.get("tag"));
            state.engine.tag_image(name, &reference).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        Some((_, "push")) => {
            Err(ApiError::not_implemented("pushing images is not supported by this daemon"))
        }
        _ => Err(ApiError::not_found("page not found")),
    }
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Vec<ImageDeleteResponseItem>>, ApiError> {
    let prune = !params.flag("noprune");
    state.engine.remove_image(&name, params.flag("force"), prune).await.map(Json)
}

pub(super) async fn prune(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<ImagePruneResponse>, ApiError> {
    state.engine.prune_images(params.filters(&PRUNE_FILTERS)?).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn references() {
        assert_eq!(with_tag("alpine", "3"), "alpine:3");
        assert_eq!(with_tag("alpine", ""), "alpine");
        assert_eq!(with_tag("alpine", "sha256:ab"), "alpine@sha256:ab");
        assert_eq!(with_tag("", "3"), "");
    }
}
