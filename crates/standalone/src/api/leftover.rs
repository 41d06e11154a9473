//! What is left of a request's body when it is refused: a client that is still sending hears why, rather than that the
//! connection is gone.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// So much more is read of a body that nobody wants, as Go's server does, and for so long.
const LEFTOVER_BYTES_MAX: usize = 1 << 20;
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// A body that can still be read when its first reader has left it.
#[derive(Debug, Clone)]
pub(super) struct Leftover(Arc<Mutex<Body>>);

impl Leftover {
    /// The request, and what will be left of its body.
    pub(super) fn of(request: Request<Body>) -> (Request<Body>, Self) {
        let (parts, body) = request.into_parts();
        let leftover = Self(Arc::new(Mutex::new(body)));
        (Request::from_parts(parts, Body::new(leftover.clone())), leftover)
    }

    /// Reads on, within bounds.
    pub(super) async fn read(mut self) {
        let reading = async {
            let mut left = LEFTOVER_BYTES_MAX;
            while let Some(Ok(frame)) = self.frame().await {
                let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
                    return;
                };
                left = rest;
            }
        };
        // One that is too slow is not waited for.
        let _ = tokio::time::timeout(LEFTOVER_TIMEOUT, reading).await;
    }
}

impl HttpBody for Leftover {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
