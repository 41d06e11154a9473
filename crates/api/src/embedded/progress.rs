//! Work of the engine as Docker's progress stream.
//!
//! What fails before it told anything is refused with a status; what fails later ends the stream with an error message,
//! since the status is sent by then. A client that leaves drops the stream, and with it the work.

use futures::{StreamExt, stream};
use serde_json::Value;
use swarm_engine::image::{Message, Progress};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use crate::engine_backend::{EngineResult, ProgressStream};
use crate::error::ApiError;

type Job = JoinHandle<swarm_engine::Result<Option<Message>>>;

/// Runs the work; its own answer, if any, is the last message.
pub(super) async fn run<F>(work: impl FnOnce(Progress) -> F) -> EngineResult<ProgressStream>
where
    F: Future<Output = swarm_engine::Result<Option<Message>>> + Send + 'static,
{
    let (progress, mut messages) = Progress::channel();
    let job = tokio::spawn(work(progress));
    let Some(first) = messages.recv().await else {
        let last = outcome(job).await?;
        return Ok(stream::iter(last.iter().map(json).collect::<Vec<_>>()).boxed());
    };
    let rest = stream::unfold(Some((messages, job)), next);
    Ok(stream::iter([json(&first)]).chain(rest.filter_map(std::future::ready)).boxed())
}

/// The next message while there are any, then the work's outcome.
async fn next(
    state: Option<(Receiver<Message>, Job)>,
) -> Option<(Option<Value>, Option<(Receiver<Message>, Job)>)> {
    let (mut messages, job) = state?;
    if let Some(message) = messages.recv().await {
        return Some((Some(json(&message)), Some((messages, job))));
    }
    let last = match outcome(job).await {
        Ok(last) => last,
        Err(error) => Some(Message::error(error.message)),
    };
    Some((last.as_ref().map(json), None))
}

async fn outcome(job: Job) -> EngineResult<Option<Message>> {
    match job.await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(ApiError::system(format!("the work was interrupted: {error}"))),
    }
}

fn json(message: &Message) -> Value {
    serde_json::to_value(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_before_and_after_the_first_message() {
        let early = run(|_| async { Err(swarm_engine::Error::not_found("no such thing")) }).await;
        assert_eq!(early.err(), Some(ApiError::not_found("no such thing")));
        let late = run(|progress| async move {
            progress.send(Message::status("begun")).await;
            Err(swarm_engine::Error::system("broken"))
        });
        let messages: Vec<_> = late.await.expect("begun").collect().await;
        let texts: Vec<_> = messages.iter().map(Value::to_string).collect();
        assert_eq!(
            texts,
            [r#"{"status":"begun"}"#, r#"{"error":"broken","errorDetail":{"message":"broken"}}"#]
        );
    }

    #[tokio::test]
    async fn the_answer_is_the_last_message() {
        let done = run(|_| async { Ok(Some(Message::status("sha256:aa"))) }).await.expect("done");
        assert_eq!(done.collect::<Vec<_>>().await, [serde_json::json!({ "status": "sha256:aa" })]);
    }
}
