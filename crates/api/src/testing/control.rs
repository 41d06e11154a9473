//! A control service that gives prepared answers and remembers what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use prost::Message;
use swarm_proto::Channel;
use swarm_proto::channel::local;
use tonic::body::Body;
use tonic::{Code, Status};

type Answer = Result<Vec<u8>, (Code, String)>;

/// Answers by method name; what has none is not found.
#[derive(Clone, Default)]
pub(crate) struct FakeControl {
    answers: HashMap<&'static str, Answer>,
    /// Refusals of the next call only.
    failures: Arc<Mutex<HashMap<&'static str, Status>>>,
    asked: Arc<Mutex<Vec<(String, Bytes)>>>,
}

impl FakeControl {
    pub(crate) fn answers(mut self, method: &'static str, answer: &impl Message) -> Self {
        self.answers.insert(method, Ok(answer.encode_to_vec()));
        self
    }

    pub(crate) fn refuses(mut self, method: &'static str, code: Code, message: &str) -> Self {
        self.answers.insert(method, Err((code, message.to_owned())));
        self
    }

    pub(crate) fn fails_once(self, method: &'static str, status: Status) -> Self {
        self.failures.lock().expect("lock").insert(method, status);
        self
    }

    /// The last request of a method.
    pub(crate) fn asked<T: Message + Default>(&self, method: &str) -> T {
        let asked = self.asked.lock().expect("lock");
        let (_, bytes) = asked.iter().rev().find(|(m, _)| m == method).expect("was asked");
        T::decode(bytes.clone()).expect("request")
    }

    pub(crate) fn channel(&self) -> Channel {
        let this = self.clone();
        local(tower::service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move { Ok::<_, Infallible>(this.answer(request).await) }
        }))
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let framed = request.into_body().collect().await.expect("body").to_bytes();
        let answer = self.answers.get(method.as_str()).cloned();
        self.asked.lock().expect("lock").push((method.clone(), framed.slice(5..)));
        if let Some(failure) = self.failures.lock().expect("lock").remove(method.as_str()) {
            return failure.into_http();
        }
        match answer {
            Some(Ok(message)) => reply(&message),
            Some(Err((code, message))) => Status::new(code, message).into_http(),
            None => Status::not_found(format!("{method} has no answer")).into_http(),
        }
    }
}

fn reply(message: &[u8]) -> Response<Body> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}
