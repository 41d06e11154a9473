//! Doubles of the two borders, and the router driven by one request at a time.

mod backup;
mod bad_input;
mod cli;
mod control;
mod engine;
mod requests;
mod tls;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use swarm_proto::Channel;
use tower::ServiceExt;

use crate::cluster::{
    Cluster, ClusterError, ClusterStatus, InitRequest, JoinRequest, LocalState, RestoreRequest,
    refusal,
};
use crate::router;
use crate::state::{ApiState, DaemonInfo};

pub(crate) use control::FakeControl;
pub(crate) use engine::FakeEngine;

/// A member whose control service is a double, or a node outside any swarm.
#[derive(Default)]
pub(crate) struct FakeCluster {
    pub(crate) status: ClusterStatus,
    pub(crate) control: Option<FakeControl>,
    pub(crate) inits: Mutex<Vec<InitRequest>>,
    pub(crate) joins: Mutex<Vec<JoinRequest>>,
}

#[async_trait]
impl Cluster for FakeCluster {
    async fn init(&self, request: InitRequest) -> Result<String, ClusterError> {
        if self.control.is_some() {
            return Err(refusal::already_in_swarm());
        }
        self.inits.lock().expect("lock").push(request);
        Ok("node1".to_owned())
    }

    async fn join(&self, request: JoinRequest) -> Result<(), ClusterError> {
        self.joins.lock().expect("lock").push(request);
        Ok(())
    }

    async fn leave(&self, _: bool) -> Result<(), ClusterError> {
        self.control.as_ref().map(drop).ok_or_else(refusal::no_swarm)
    }

    async fn backup(&self, key: Option<String>) -> Result<Vec<u8>, ClusterError> {
        self.control.as_ref().ok_or_else(refusal::not_a_manager)?;
        Ok(format!("backup with {key:?}").into_bytes())
    }

    async fn restore(&self, request: RestoreRequest) -> Result<String, ClusterError> {
        if self.control.is_some() {
            return Err(refusal::already_in_swarm());
        }
        Ok(format!("{} at {}", String::from_utf8_lossy(&request.file), request.advertise_addr))
    }

    async fn unlock(&self, _: String) -> Result<(), ClusterError> {
        Err(refusal::not_locked())
    }

    async fn unlock_key(&self) -> Result<String, ClusterError> {
        Ok(String::new())
    }

    fn status(&self) -> ClusterStatus {
        self.status.clone()
    }

    fn control(&self) -> Result<Channel, ClusterError> {
        self.control.as_ref().map(FakeControl::channel).ok_or_else(refusal::not_a_manager)
    }
}

/// The API of a node with these borders.
pub(crate) struct Api {
    pub(crate) cluster: Arc<FakeCluster>,
    pub(crate) engine: Arc<FakeEngine>,
}

impl Api {
    /// A node outside any swarm.
    pub(crate) fn alone() -> Self {
        Self { cluster: Arc::default(), engine: Arc::default() }
    }

    /// A manager whose control service gives these answers.
    pub(crate) fn manager(control: FakeControl) -> Self {
        let status = ClusterStatus {
            state: LocalState::Active,
            node_id: "node1".to_owned(),
            node_addr: "10.0.0.1".to_owned(),
            control_available: true,
            ..Default::default()
        };
        let cluster = FakeCluster { status, control: Some(control), ..Default::default() };
        Self { cluster: Arc::new(cluster), engine: Arc::default() }
    }

    pub(crate) fn state(&self) -> ApiState {
        ApiState::new(self.cluster.clone(), self.engine.clone(), DaemonInfo::default())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> http::Response<Body> {
        router::build(self.state()).oneshot(request).await.expect("infallible")
    }

    /// Sends a request whose body is JSON unless it is empty; answers status and body.
    pub(crate) async fn call(&self, method: Method, uri: &str, body: &str) -> (u16, String) {
        let mut request =
            Request::builder().method(method).uri(uri).header("content-length", body.len());
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body.to_owned())).expect("request");
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) async fn post(&self, uri: &str, body: &str) -> (u16, String) {
        self.call(Method::POST, uri, body).await
    }
}
