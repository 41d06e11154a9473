//! `docker run` in the foreground: a container's output from now on, over the client's connection.
//!
//! The client attaches before it starts the container, so the stream waits for the start; the log is held open from then
//! on, since a container that removes itself (`--rm`) may be gone the moment after. Standard input is not here:
//! the engine has no way in.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;

use crate::engine_backend::{LogLine, ReadLogs};
use crate::error::ApiError;
use crate::http::logs::{Layout, content_type, encode_item, respond};
use crate::http::params::Params;
use crate::http::version::ApiVersion;
use crate::state::ApiState;

pub(super) async fn attach(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    version: ApiVersion,
    request: Request,
) -> Result<Response, ApiError> {
    if params.flag("stdin") {
        return Err(ApiError::not_implemented(
            "attaching standard input is not supported by this daemon",
        ));
    }
    let container = state.engine.inspect_container(&id, false).await?;
    let id = container.id.unwrap_or(id);
    let running = container.state.and_then(|state| state.running).unwrap_or_default();
    let layout = Layout {
        tty: container.config.and_then(|c| c.tty).unwrap_or_default(),
        ..Default::default()
    };
    let options = ReadLogs {
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        follow: params.flag("stream"),
        await_run: !running,
        since: (!params.flag("logs")).then(now_nanos),
        ..Default::default()
    };
    let lines = match state.engine.container_logs(&id, options).await {
        Ok(lines) => lines,
        Err(error) => futures::stream::iter([Err(error)]).boxed(),
    };
    let upgrades = request.headers().get(header::UPGRADE).is_some_and(|value| value == "tcp");
    if !upgrades {
        return Ok(respond(lines, layout, version));
    }
    tokio::spawn(copy(request, lines, layout));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(layout, version)));
    Ok(response)
}

fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes until the output ends or the client is gone.
async fn copy(
    mut request: Request,
    lines: impl Stream<Item = Result<LogLine, ApiError>>,
    layout: Layout,
) {
    let upgraded = match hyper::upgrade::on(&mut request).await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(%error, "an attaching client went away"),
    };
    let mut connection = TokioIo::new(upgraded);
    let mut lines = std::pin::pin!(lines);
    while let Some(line) = lines.next().await {
        if connection.write_all(&encode_item(line, layout)).await.is_err()
            || connection.flush().await.is_err()
        {
            return;
        }
    }
    if let Err(error) = connection.shutdown().await {
        tracing::debug!(%error, "an attached client went away");
    }
}
