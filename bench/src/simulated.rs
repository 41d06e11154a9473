//! Simulated Docker Engines: HTTP servers in one process that answer as engines do, for containers that are JSON only.
//!
//! Each listens on a loopback address of its own. What a standalone manager asks is answered at once, from memory, in the
//! shape and size of Docker 20.10's answers; everything else is 404.

mod documents;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use swarm_network::netns;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

const PORT: u16 = 2375;
/// Events that may wait for whoever follows.
const EVENTS_MAX: usize = 64;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Where an engine listens.
pub(crate) fn address(number: usize) -> SocketAddr {
    let [.., high, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    (Ipv4Addr::new(127, 1, high, low), PORT).into()
}

/// The life of the process: engines in this network, with so many containers each, until the input ends.
pub(crate) fn run(network: &str, engines: usize, containers: usize) -> Result<()> {
    netns::run_in(PathBuf::from(network), || {
        let runtime = tokio::runtime::Runtime::new()?;
        for number in 0..engines {
            let engine = Arc::new(Engine::new(number, containers));
            let listener = runtime.block_on(TcpListener::bind(address(number)));
            let listener = listener.with_context(|| format!("listen at {}", address(number)))?;
            runtime.spawn(serve(listener, engine));
        }
        // Whatever ends the reading ends the engines.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        Ok(())
    })?
}

/// One engine.
struct Engine {
    number: usize,
    containers: Mutex<BTreeMap<String, Container>>,
    events: broadcast::Sender<Bytes>,
}

#[derive(Debug, Clone)]
struct Container {
    id: String,
    name: String,
    labels: Value,
    runs: bool,
}

async fn serve(listener: TcpListener, engine: Arc<Engine>) {
    // A client that is refused a connection shows it in its figures.
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let engine = engine.clone();
        let service = service_fn(move |request| {
            let engine = engine.clone();
            async move { Ok::<_, Infallible>(engine.answer(request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

impl Engine {
    fn new(number: usize, containers: usize) -> Self {
        let made = (0..containers).map(|index| {
            let id = documents::id(&format!("{number}/{index}"));
            let name = format!("c{number}-{index}");
            (id.clone(), Container { id, name, labels: json!({}), runs: true })
        });
        Self {
            number,
            containers: Mutex::new(made.collect()),
            events: broadcast::channel(EVENTS_MAX).0,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let path = match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
            Some((_, rest)) => format!("/{rest}"),
            None => path,
        };
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (&method, parts.as_slice()) {
            (_, ["_ping"]) => text(StatusCode::OK, "OK".into()),
            (&Method::GET, ["version"]) => json_answer(&documents::version()),
            (&Method::GET, ["info"]) => json_answer(&self.info()),
            (&Method::GET, ["images", "json"]) => json_answer(&documents::images()),
            (&Method::GET, ["networks"]) => json_answer(&documents::networks(self.number)),
            (&Method::GET, ["volumes"]) => json_answer(&json!({"Volumes": [], "Warnings": null})),
            (&Method::GET, ["events"]) => self.follow(),
            (&Method::GET, ["containers", "json"]) => json_answer(&self.list(&query)),
            (&Method::GET, ["containers", id, "json"]) => self.inspect(id),
            (&Method::POST, ["containers", "create"]) => self.create(&query, request).await,
            (&Method::POST, ["containers", id, "start"]) => self.start(id),
            _ => missing(),
        }
    }

    fn info(&self) -> Value {
        documents::info(self.number, self.lock().len())
    }

    /// All, or those that the filter names by their IDs.
    fn list(&self, query: &str) -> Value {
        let containers = self.lock();
        let wanted = query.split('&').find_map(|pair| pair.strip_prefix("filters="));
        let is_wanted = |id: &str| wanted.is_none_or(|wanted| wanted.contains(id));
        let found = containers.values().filter(|container| is_wanted(&container.id));
        found.map(|container| documents::summary(self.number, container)).collect()
    }

    fn inspect(&self, id: &str) -> Answer {
        match self.lock().get(id) {
            Some(container) => json_answer(&documents::details(self.number, container)),
            None => missing(),
        }
    }

    async fn create(&self, query: &str, request: Request<Incoming>) -> Answer {
        let Ok(body) = request.into_body().collect().await else { return missing() };
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        let name = query.split('&').find_map(|pair| pair.strip_prefix("name="));
        let name = name.unwrap_or("unnamed").to_owned();
        let id = documents::id(&format!("{}/{name}", self.number));
        let labels = body["Labels"].clone();
        let container = Container { id: id.clone(), name, labels, runs: false };
        self.tell("create", &container);
        self.lock().insert(id.clone(), container);
        let made = json!({"Id": id, "Warnings": []}).to_string();
        text(StatusCode::CREATED, made.into())
    }

    fn start(&self, id: &str) -> Answer {
        let mut containers = self.lock();
        let Some(container) = containers.get_mut(id) else { return missing() };
        container.runs = true;
        self.tell("start", container);
        text(StatusCode::NO_CONTENT, Bytes::new())
    }

    fn tell(&self, action: &str, container: &Container) {
        let event = documents::event(action, container).to_string() + "\n";
        // Nobody may be following.
        let _ = self.events.send(event.into());
    }

    fn follow(&self) -> Answer {
        let events = BroadcastStream::new(self.events.subscribe());
        let frames = events.filter_map(|event| event.ok().map(|event| Ok(Frame::data(event))));
        Response::new(BodyExt::boxed(StreamBody::new(frames)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Container>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn json_answer(value: &Value) -> Answer {
    text(StatusCode::OK, value.to_string().into())
}

fn missing() -> Answer {
    text(StatusCode::NOT_FOUND, r#"{"message":"no such thing"}"#.into())
}

fn text(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).boxed());
    *answer.status_mut() = status;
    answer
}
