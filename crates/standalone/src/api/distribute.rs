//! Work with images that every engine does: pulls, loads and imports, with what all say about it as one stream.
//!
//! An archive that the client sends is passed on as it comes, to all engines at once; none is held back but for the
//! slowest, and one that takes nothing for long is left behind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use http::{HeaderMap, HeaderName, Method, Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Manager;
use super::containers::note_failure;
use super::forward::versioned;
use super::progress::{Gone, Teller, begin, error_of, stream};
use super::query::Query;
use super::reply::{Failure, Reply};
use crate::engine::{Engine, read_images, url_encoded};

/// Pieces of an archive that may wait for an engine.
const PIECES_WAITING_MAX: usize = 16;
/// An engine that takes no piece for so long is left behind.
const TAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Headers of the client's that matter to engines here.
const PASSED_ON: [HeaderName; 2] =
    [HeaderName::from_static("x-registry-auth"), header::CONTENT_TYPE];
/// An image for another operating system is no failure where some engine can run it.
const OTHER_SYSTEM: &str = "image operating system";

/// What every engine is to do.
#[derive(Debug)]
struct Work {
    /// What messages begin with; empty for none.
    head: String,
    path: String,
    headers: HeaderMap,
}

/// Pulls an image, or makes one of an archive.
pub(super) fn create(manager: &Manager, query: &Query, request: Request<Body>) -> Reply {
    let engines = healthy(manager)?;
    let headers = passed_on(request.headers());
    let path = versioned(&request, "/images/create");
    if query.text("fromImage").is_empty() {
        let raw = request.uri().query().unwrap_or_default();
        let path = format!("{path}?{raw}");
        return everywhere(
            engines,
            Work { head: String::new(), path, headers },
            Some(request.into_body()),
        );
    }
    let reference = reference(query.text("fromImage"), query.text("tag"));
    let mut path = format!("{path}?fromImage={}", url_encoded(&reference));
    if !query.text("platform").is_empty() {
        path.push_str(&format!("&platform={}", url_encoded(query.text("platform"))));
    }
    everywhere(engines, Work { head: format!("Pulling {reference}..."), path, headers }, None)
}

/// Loads the images of an archive.
pub(super) fn load(manager: &Manager, request: Request<Body>) -> Reply {
    let engines = healthy(manager)?;
    let headers = passed_on(request.headers());
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = versioned(&request, &format!("/images/load{query}"));
    let work = Work { head: "Loading Image...".to_owned(), path, headers };
    everywhere(engines, work, Some(request.into_body()))
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    PASSED_ON.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}

/// `alpine`, with a tag or a digest, wherever that was given.
fn reference(image: &str, tag: &str) -> String {
    let has_tag = image.contains('@') || image.rsplit('/').next().unwrap_or_default().contains(':');
    match tag {
        "" if has_tag => image.to_owned(),
        "" => format!("{image}:latest"),
        digest if digest.contains(':') => format!("{image}@{digest}"),
        tag => format!("{image}:{tag}"),
    }
}

fn healthy(manager: &Manager) -> Result<Vec<Arc<Engine>>, Failure> {
    let engines: Vec<_> =
        manager.cluster.engines().into_iter().filter(|engine| engine.is_healthy()).collect();
    match engines.is_empty() {
        true => Err(Failure::internal("No healthy node available in the cluster")),
        false => Ok(engines),
    }
}

/// Has all engines do it, each with the same body.
fn everywhere(engines: Vec<Arc<Engine>>, work: Work, body: Option<Body>) -> Reply {
    let (teller, reply) = stream();
    let bodies = match body {
        None => engines.iter().map(|_| Body::empty()).collect(),
        Some(body) => {
            let (takers, bodies): (Vec<_>, Vec<_>) = engines.iter().map(|_| piecewise()).unzip();
            tokio::spawn(fan_out(body, takers));
            bodies
        }
    };
    tokio::spawn(async move {
        let parts = engines.iter().zip(bodies);
        let parts = parts.map(|(engine, body)| on_engine(engine, &work, body, &teller));
        let results = join_all(parts).await;
        let is_done_somewhere = results.iter().any(Result::is_ok);
        let errors = results.into_iter().filter_map(Result::err);
        let errors: Vec<String> =
            errors.filter(|error| !(is_done_somewhere && error.contains(OTHER_SYSTEM))).collect();
        if let Some(error) = errors.last() {
            teller.fail(error).await;
        }
    });
    reply
}

/// Has one engine do it; what went wrong, if anything did.
async fn on_engine(
    engine: &Arc<Engine>,
    work: &Work,
    body: Body,
    teller: &Teller,
) -> Result<(), String> {
    let node = engine.name();
    let status = |text: &str| match (work.head.is_empty(), text.is_empty()) {
        (true, _) => text.to_owned(),
        (false, true) => work.head.clone(),
        (false, false) => format!("{} : {text}", work.head),
    };
    let plain = |text: &str| json!({"status": status(text), "id": node});
    let gone = |_: Gone| "the client has gone".to_owned();
    if !work.head.is_empty() {
        teller.say(plain("")).await.map_err(gone)?;
    }
    let result = follow(engine, work, body, |mut message| {
        let text = message["status"].as_str().unwrap_or_default().to_owned();
        message["id"] = node.as_str().into();
        message["status"] = status(&text).into();
        teller.say(message)
    })
    .await;
    // The client's next request may be for this image.
    note_failure(engine, read_images(engine).await);
    let last = match &result {
        Ok(()) if work.head.is_empty() => return result,
        Ok(()) => plain(""),
        Err(error) => plain(error),
    };
    teller.say(last).await.map_err(gone)?;
    result
}

async fn follow<S: Future<Output = Result<(), Gone>>>(
    engine: &Arc<Engine>,
    work: &Work,
    body: Body,
    mut say: impl FnMut(Value) -> S,
) -> Result<(), String> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.headers_mut() = work.headers.clone();
    *request.uri_mut() =
        work.path.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let mut messages = begin(engine, request).await.map_err(|error| error.to_string())?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| error.to_string())?;
        if let Some(error) = error_of(&message) {
            return Err(error);
        }
        say(message).await.map_err(|_| "the client has gone".to_owned())?;
    }
    Ok(())
}

/// A piece of a body, or that it is whole.
type Piece = Option<Bytes>;

/// A body that is fed piece by piece; it fails where it ends before it is whole.
fn piecewise() -> (mpsc::Sender<Piece>, Body) {
    let (sender, receiver) = mpsc::channel::<Piece>(PIECES_WAITING_MAX);
    let pieces = futures::stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(receiver))),
            Some(None) => None,
            None => Some((Err(io::Error::other("the archive was cut off")), None)),
        }
    });
    (sender, Body::from_stream(pieces))
}

/// Gives a body to all who take it; who ended, or takes nothing for too long, gets no more of it.
async fn fan_out(mut body: Body, mut takers: Vec<mpsc::Sender<Piece>>) {
    while let Some(frame) = body.frame().await {
        // Whoever takes sees that it was cut off.
        let Ok(frame) = frame else { return };
        let Ok(piece) = frame.into_data() else { continue };
        takers = give(takers, Some(piece)).await;
        if takers.is_empty() {
            return;
        }
    }
    give(takers, None).await;
}

async fn give(takers: Vec<mpsc::Sender<Piece>>, piece: Piece) -> Vec<mpsc::Sender<Piece>> {
    let given = takers.into_iter().map(|taker| {
        let piece = piece.clone();
        async move {
            let given = tokio::time::timeout(TAKE_TIMEOUT, taker.send(piece)).await;
            matches!(given, Ok(Ok(()))).then_some(taker)
        }
    });
    join_all(given).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_tag() {
        for (image, tag, expect) in [
            ("alpine", "", "alpine:latest"),
            ("alpine", "3", "alpine:3"),
            ("alpine:3", "", "alpine:3"),
            ("localhost:5000/a", "", "localhost:5000/a:latest"),
            ("a", "sha256:0", "a@sha256:0"),
            ("a@sha256:0", "", "a@sha256:0"),
        ] {
            assert_eq!(reference(image, tag), expect);
        }
    }

    #[tokio::test]
    async fn all_get_the_whole_body_or_an_error() {
        let pieces = || (0..100_u8).map(|number| Bytes::from(vec![number; 10]));
        let whole = Body::from_stream(futures::stream::iter(pieces().map(Ok::<_, io::Error>)));
        let ((first, one), (second, other), (third, dead)) =
            (piecewise(), piecewise(), piecewise());
        drop(dead);
        tokio::spawn(fan_out(whole, vec![first, second, third]));
        let (one, other) = tokio::join!(one.collect(), other.collect());
        for body in [one, other] {
            assert_eq!(body.expect("whole").to_bytes(), pieces().collect::<Vec<_>>().concat());
        }
        let broken = pieces().map(Ok).chain([Err(io::Error::other("gone"))]);
        let (taker, body) = piecewise();
        tokio::spawn(fan_out(Body::from_stream(futures::stream::iter(broken)), vec![taker]));
        assert!(body.collect().await.is_err());
    }
}
