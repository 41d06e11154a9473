//! The results page: a chart that follows the count.
//!
//! `GET /` is the page with what is known, `GET /events` the same as server-sent events, `GET /health` tells whether
//! Postgres answers. One task asks Postgres for everybody; while Postgres is away the last count stays, marked as old.

mod count;
mod page;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::server;
use crate::settings;
use count::Count;

/// Shorter than what balancers take for an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Serves until the process is told to end.
pub async fn run(settings: &settings::Results) -> std::io::Result<()> {
    let (sender, counts) = watch::channel(Count::default());
    let counting = tokio::spawn(count::follow(settings.postgres.config(), sender));
    let routes = Router::new()
        .route("/", get(show))
        .route("/events", get(events))
        .route("/health", get(health))
        .with_state(counts);
    let served = server::serve(settings.listen.listen, routes).await;
    counting.abort();
    served
}

async fn show(State(counts): State<watch::Receiver<Count>>) -> Html<String> {
    let count = *counts.borrow();
    Html(page::html(&count))
}

async fn events(
    State(counts): State<watch::Receiver<Count>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = WatchStream::new(counts).filter_map(async |count| {
        let event = Event::default().json_data(count).ok()?;
        Some(Ok(event))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

async fn health(State(counts): State<watch::Receiver<Count>>) -> Response {
    match counts.borrow().fresh {
        true => "Postgres answers\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Postgres is away\n").into_response(),
    }
}
