//! A leader's answer on its way to the caller; it ends when the leader is no longer the leader.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tonic::{Code, Status};

/// A body that a change of the leader cuts short: a stream of a leader that is gone would be silent for long.
pub(super) struct Answer {
    body: tonic::body::Body,
    /// None once it has resolved.
    deposed: Option<BoxFuture<'static, ()>>,
}

impl Answer {
    pub(super) fn new(
        body: tonic::body::Body,
        deposed: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { body, deposed: Some(Box::pin(deposed)) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.deposed.is_none() {
            return Poll::Ready(None);
        }
        // What has arrived comes first.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let deposed =
            self.deposed.as_mut().is_some_and(|deposed| deposed.as_mut().poll(context).is_ready());
        if !deposed {
            return Poll::Pending;
        }
        self.deposed = None;
        Poll::Ready(Some(Ok(Frame::trailers(farewell()))))
    }

    fn is_end_stream(&self) -> bool {
        self.deposed.is_none() || self.body.is_end_stream()
    }
}

fn farewell() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::Unavailable as i32));
    trailers.insert(
        Status::GRPC_MESSAGE,
        HeaderValue::from_static("the leader of the swarm has changed"),
    );
    trailers
}
