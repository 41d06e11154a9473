//! The Docker Engine API over a whole pool of engines.
//!
//! Mirrors docker/swarm's `api`: errors are plain text, every version of the API is served.

mod build;
mod build_nodes;
mod containers;
mod distribute;
mod event_filter;
mod events;
mod forward;
mod images;
mod info;
mod leftover;
mod networks;
mod progress;
mod query;
mod replica;
mod reply;
mod route;
mod volumes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::engine::Engine;
use crate::leadership::Leadership;
use leftover::Leftover;
use query::{Query, decoded_path};
use reply::{Failure, Reply};
use route::{Route, route};

/// No body that is read whole may be larger.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Commands whose containers are remembered.
const EXECS_MAX: usize = 10_000;

/// What a list of containers must be filtered by for engines to be looked at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct RefreshOn {
    /// By a node: that node is looked at.
    pub(crate) node: bool,
    /// By this name: all are; empty for none.
    pub(crate) name: String,
}

/// What a manager serves.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) is_debug: bool,
    pub(crate) is_experimental: bool,
    pub(crate) has_cors: bool,
    /// Whether this manager serves requests itself.
    pub(crate) leadership: Leadership,
    /// When engines are looked at before containers are listed.
    pub(crate) refresh: RefreshOn,
    /// How clients are served where that is not in the clear.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    /// With what certificate other managers are dialled where that is not in the clear.
    pub(crate) dial: Option<Arc<rustls::ClientConfig>>,
    /// The engines of builds.
    builds: build_nodes::BuildNodes,
    /// The engines of commands, by the commands' identifiers.
    execs: Mutex<BTreeMap<String, String>>,
}

impl Manager {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self {
            cluster: Arc::new(cluster),
            is_debug: false,
            is_experimental: false,
            has_cors: false,
            leadership: Leadership::default(),
            refresh: RefreshOn::default(),
            tls: None,
            dial: None,
            builds: build_nodes::BuildNodes::default(),
            execs: Mutex::default(),
        }
    }

    fn note_exec(&self, id: &str, addr: &str) {
        let mut execs = self.execs.lock().unwrap_or_else(PoisonError::into_inner);
        if execs.len() >= EXECS_MAX {
            // Those that are forgotten are found by asking all engines.
            execs.clear();
        }
        execs.insert(id.to_owned(), addr.to_owned());
    }

    fn exec_engine(&self, id: &str) -> Option<Arc<Engine>> {
        let addr = {
            let execs = self.execs.lock().unwrap_or_else(PoisonError::into_inner);
            execs.get(id).cloned()?
        };
        self.cluster.engines().into_iter().find(|engine| engine.addr() == addr)
    }

    /// Answers a request.
    pub(crate) async fn serve(&self, request: Request<Body>) -> Response<Body> {
        tracing::debug!(method = %request.method(), uri = %request.uri(), "HTTP request received");
        let (request, leftover) = Leftover::of(request);
        let answered = match replica::pass_on(self, request).await {
            replica::Outcome::Ours(request) => self.dispatch(request).await,
            replica::Outcome::Answered(answered) => answered,
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(failure) => failure.answer(),
        };
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            leftover.read().await;
        }
        let headers = response.headers_mut();
        headers.insert("Api-Version", HeaderValue::from_static(info::API_VERSION));
        if self.has_cors {
            for (name, value) in CORS {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        response
    }

    async fn dispatch(&self, request: Request<Body>) -> Reply {
        let method = request.method().clone();
        if self.has_cors && method == http::Method::OPTIONS {
            return reply::empty(StatusCode::OK);
        }
        if let Some(clean) = cleaned(request.uri().path()) {
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            let location = [(http::header::LOCATION, format!("{clean}{query}"))];
            return Ok((StatusCode::MOVED_PERMANENTLY, location).into_response());
        }
        let path = decoded_path(request.uri().path());
        let raw_query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let query = Query::read(request.uri().query().unwrap_or_default());
        let Some(route) = route(&method, &path) else {
            return Ok((StatusCode::NOT_FOUND, "404 page not found\n").into_response());
        };
        match route {
            Route::Ping => Ok("OK".into_response()),
            Route::Version => reply::json(&info::version()),
            Route::Info => reply::json(&info::info(self)),
            Route::Events => events::follow(self, &query).await,
            Route::ContainerList => containers::list(self, &query).await,
            Route::ContainerCreate => containers::create(self, &query, request).await,
            Route::ContainerInspect(name) => containers::inspect(self, name, &raw_query).await,
            Route::ContainerRemove(name) => containers::remove(self, name, &raw_query).await,
            Route::Commit => containers::commit(self, &query, request).await,
            Route::Build => build::build(self, &query, request).await,
            Route::BuildCancel => build::cancel(self, &query, request).await,
            Route::Session => build::session(self, request).await,
            Route::ContainerRename(name) => containers::rename(self, name, &query).await,
            Route::ExecCreate(name) => containers::exec_create(self, name, request).await,
            Route::ContainerPass { name, verb, is_change } => {
                containers::pass(self, name, verb, is_change, request).await
            }
            Route::ExecPass { id, verb } => containers::exec_pass(self, id, verb, request).await,
            Route::ImageList => images::list(self, &query),
            Route::ImageCreate => distribute::create(self, &query, request),
            Route::ImageLoad => distribute::load(self, request),
            Route::ImageSave => images::save(self, &query, request).await,
            Route::ImageRemove(name) => images::remove(self, name, &query).await,
            Route::ImageTag(name) => images::tag(self, name, &raw_query).await,
            Route::ImagePass { name, verb } => {
                images::pass(self, name, verb, &query, request).await
            }
            Route::NetworkList => networks::list(self, &query),
            Route::NetworkCreate => networks::create(self, request).await,
            Route::NetworkInspect(name) => networks::inspect(self, name, request).await,
            Route::NetworkRemove(name) => networks::remove(self, name).await,
            Route::NetworkPass { name, verb } => networks::pass(self, name, verb, request).await,
            Route::VolumeList => volumes::list(self, &query),
            Route::VolumeCreate => volumes::create(self, request).await,
            Route::VolumeInspect(name) => volumes::inspect(self, name, request).await,
            Route::VolumeRemove(name) => volumes::remove(self, name, &raw_query).await,
            Route::NotHere => {
                Err(Failure::new(StatusCode::NOT_IMPLEMENTED, "Not supported in clustering mode."))
            }
            Route::Any => {
                let engine = self.cluster.any_engine()?;
                let path = route::without_version(&path).to_owned();
                forward::forward(&engine, request, &path).await
            }
        }
    }
}

const CORS: [(&str, &str); 3] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept"),
    ("Access-Control-Allow-Methods", "GET, POST, DELETE, PUT, OPTIONS, HEAD"),
];

/// A path without `//`, `/./` and `/../`, as Go's router asks for it; none where it is clean.
fn cleaned(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    let clean = format!("/{}{end}", parts.join("/"));
    (clean != path).then_some(clean)
}

/// The JSON of a request's body.
async fn body_json(request: Request<Body>) -> Result<Value, Failure> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| Failure::bad_request(error.to_string()))?.to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::bad_request(format!("the body must be JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, expect) in [
            ("/info", None),
            ("/", None),
            ("/containers/a/", None),
            ("//info", Some("/info")),
            ("/v1.40/./containers/../info", Some("/v1.40/info")),
            ("/../..", Some("/")),
        ] {
            assert_eq!(cleaned(path).as_deref(), expect, "{path}");
        }
    }
}
