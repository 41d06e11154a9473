//! The front end: a page with two buttons, and votes into the Redis beside it.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the page, and a cookie that makes a voter of who has none |
//! | `POST /` with `vote=cats` or `vote=dogs` | 303 once the vote is on Redis' disk; 503 if that can't be said |
//! | `GET /health` | 200 if the Redis takes writes, else 503, so that a balancer leaves the pair out |

mod page;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::header::{COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::ballot::{Choice, Vote};
use crate::cookie::Voter;
use crate::queue::{Inbox, QueueError};
use crate::server;
use crate::settings;
use page::{Page, Served};

/// In seconds: a Redis that restarts is back by then.
const RETRY_AFTER_SECONDS: &str = "2";

struct FrontEnd {
    inbox: Inbox,
    served: Served,
}

#[derive(Debug, Deserialize)]
struct Answer {
    vote: Choice,
}

/// Why a front end does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum FrontEndError {
    /// The Redis' URL is none.
    #[error(transparent)]
    Redis(#[from] QueueError),
    /// The address can't be listened on.
    #[error("serve HTTP: {0}")]
    Serve(#[from] std::io::Error),
}

/// Serves until the process is told to end.
pub async fn run(settings: &settings::FrontEnd) -> Result<(), FrontEndError> {
    let inbox = Inbox::new(&settings.redis())?;
    let served = Served {
        by: format!("frontend{}", settings.number),
        host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
    };
    tracing::info!(name = served.by, redis = inbox.address(), "taking votes");
    let front_end = Arc::new(FrontEnd { inbox, served });
    let routes = Router::new()
        .route("/", get(show).post(cast))
        .route("/health", get(health))
        .with_state(front_end);
    Ok(server::serve(settings.listen.listen, routes).await?)
}

async fn show(State(front_end): State<Arc<FrontEnd>>, headers: HeaderMap) -> Response {
    let known = voter(&headers);
    let is_new = known.is_none();
    let voter = known.unwrap_or_else(Voter::newcomer);
    let page = Html(Page::Ballot { choice: voter.choice }.html(&front_end.served));
    match is_new {
        true => ([(SET_COOKIE, voter.set_header())], page).into_response(),
        false => page.into_response(),
    }
}

async fn cast(
    State(front_end): State<Arc<FrontEnd>>,
    headers: HeaderMap,
    answer: Result<Form<Answer>, FormRejection>,
) -> Response {
    let Ok(Form(Answer { vote: choice })) = answer else {
        let page = Html(Page::NoChoice.html(&front_end.served));
        return (StatusCode::BAD_REQUEST, page).into_response();
    };
    let mut voter = voter(&headers).unwrap_or_else(Voter::newcomer);
    // Also when it fails: the vote may have been queued, and what this voter casts next must rank above it.
    voter.number = voter.number.saturating_add(1);
    let vote = Vote { voter: voter.id.clone(), number: voter.number, cast_at_us: now_us(), choice };
    match front_end.inbox.push(&vote).await {
        Ok(()) => {
            voter.choice = Some(choice);
            let headers = [(SET_COOKIE, voter.set_header()), (LOCATION, "/".into())];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "a vote was not taken");
            let page = Html(Page::NotTaken { choice: voter.choice }.html(&front_end.served));
            let headers =
                [(SET_COOKIE, voter.set_header()), (RETRY_AFTER, RETRY_AFTER_SECONDS.into())];
            (StatusCode::SERVICE_UNAVAILABLE, headers, page).into_response()
        }
    }
}

async fn health(State(front_end): State<Arc<FrontEnd>>) -> Response {
    match front_end.inbox.check().await {
        Ok(()) => "its Redis takes writes\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

fn voter(headers: &HeaderMap) -> Option<Voter> {
    headers.get_all(COOKIE).iter().find_map(|header| Voter::of_header(header.to_str().ok()?))
}

/// Microseconds since 1970.
fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
