//! What is left of a request's body when it is refused: a client that is still sending hears why, rather than that the
//! connection is gone.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// So much more is read of a body that nobody wants, as Go's server does, and for so long.
const LEFTOVER_BYTES_MAX: usize = 1 << 20;
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// A body that can be taken from its first reader.
#[derive(Debug, Clone)]
pub(super) struct Leftover(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    /// None once it was taken.
    body: Option<Body>,
    /// Who waits for more of it.
    reader: Option<Waker>,
}

impl Leftover {
    /// The request, and what will be left of its body.
    pub(super) fn of(request: Request<Body>) -> (Request<Body>, Self) {
        let (parts, body) = request.into_parts();
        let leftover = Self(Arc::new(Mutex::new(Shared { body: Some(body), reader: None })));
        (Request::from_parts(parts, Body::new(leftover.clone())), leftover)
    }

    /// Takes the body from whoever still reads it, and reads on, within bounds.
    pub(super) async fn read(self) {
        let (body, reader) = {
            let mut shared = self.lock();
            (shared.body.take(), shared.reader.take())
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        let Some(mut body) = body else { return };
        let reading = async {
            let mut left = LEFTOVER_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
                    return;
                };
                left = rest;
            }
        };
        // One that is too slow is not waited for.
        let _ = tokio::time::timeout(LEFTOVER_TIMEOUT, reading).await;
    }

    // Each change is whole before anything can panic.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Leftover {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut shared = self.lock();
        let Some(body) = &mut shared.body else {
            return Poll::Ready(Some(Err(axum::Error::new(io::Error::other("it was refused")))));
        };
        let polled = Pin::new(body).poll_frame(context);
        shared.reader = polled.is_pending().then(|| context.waker().clone());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_taken_from_who_reads_it() {
        let endless = futures::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(b"x")));
        let (request, leftover) = Leftover::of(Request::new(Body::from_stream(endless)));
        let mut body = request.into_body();
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        // Within bounds, however much there is.
        leftover.read().await;
        assert!(body.frame().await.is_some_and(|frame| frame.is_err()));

        let silent = futures::stream::pending::<Result<Bytes, io::Error>>();
        let (request, leftover) = Leftover::of(Request::new(Body::from_stream(silent)));
        let mut body = request.into_body();
        let (waited, ()) = tokio::join!(body.frame(), leftover.read());
        assert!(waited.is_some_and(|frame| frame.is_err()));
    }
}
