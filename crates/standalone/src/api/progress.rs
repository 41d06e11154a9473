//! Messages of engines about one piece of work, on their way to the client.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse as _;
use futures::{Stream, StreamExt as _};
use http::{Request, Response, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, LinesCodec};

use super::reply::Reply;
use crate::engine::{Engine, EngineError};

/// Messages that may wait for the client.
const MESSAGES_WAITING_MAX: usize = 64;
/// A message of an engine's may be as long.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Where messages for one client go.
#[derive(Debug, Clone)]
pub(super) struct Teller(mpsc::Sender<Value>);

/// The client has gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Teller {
    pub(super) async fn say(&self, message: Value) -> Result<(), Gone> {
        self.0.send(message).await.map_err(|_| Gone)
    }

    /// The last message: what all of it came to.
    pub(super) async fn fail(&self, error: &str) {
        let detail = json!({"code": 1, "message": error});
        // A client that has gone needs no last word.
        let _ = self.say(json!({"error": error, "errorDetail": detail})).await;
    }
}

/// A stream of messages as an answer, and where they are to be told.
pub(super) fn stream() -> (Teller, Reply) {
    let (sender, told) = mpsc::channel(MESSAGES_WAITING_MAX);
    let told = tokio_stream::wrappers::ReceiverStream::new(told);
    let told = told.map(|message: Value| Ok::<_, Infallible>(format!("{message}\r\n")));
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (Teller(sender), Ok((headers, Body::from_stream(told)).into_response()))
}

/// What an engine says about a piece of work, message by message.
///
/// # Errors
/// [`EngineError`], where the engine refuses the work as a whole.
pub(super) async fn begin(
    engine: &Arc<Engine>,
    request: Request<Body>,
) -> Result<impl Stream<Item = Result<Value, EngineError>> + Send + Unpin + use<>, EngineError> {
    let answer = engine.target().send(request).await;
    engine.note(&answer);
    let answer = answer?;
    if !answer.status().is_success() {
        return Err(engine.target().refusal(answer).await);
    }
    Ok(messages(engine, answer.map(Body::new)))
}

/// The messages of an answer, one a line.
pub(super) fn messages(
    engine: &Arc<Engine>,
    answer: Response<Body>,
) -> impl Stream<Item = Result<Value, EngineError>> + Send + Unpin + use<> {
    let body = answer.into_body().into_data_stream();
    let body = body.map(|chunk| chunk.map_err(std::io::Error::other));
    let reader = tokio_util::io::StreamReader::new(body);
    let lines = FramedRead::new(reader, LinesCodec::new_with_max_length(MESSAGE_BYTES_MAX));
    let addr = engine.addr().to_owned();
    let nonsense =
        move |problem: String| Err(EngineError::Nonsense { addr: addr.clone(), problem });
    let lines = lines.filter(|line| {
        let is_blank = line.as_ref().is_ok_and(|line| line.trim().is_empty());
        async move { !is_blank }
    });
    Box::pin(lines.map(move |line| match line {
        Ok(line) => serde_json::from_str(&line).or_else(|error| nonsense(error.to_string())),
        Err(error) => nonsense(error.to_string()),
    }))
}

/// The error that a message tells, if it tells one.
pub(super) fn error_of(message: &Value) -> Option<String> {
    let error = message.get("error").or_else(|| message.get("errorDetail")?.get("message"))?;
    Some(error.as_str().unwrap_or("an error without words").to_owned())
}
