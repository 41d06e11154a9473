//! How a voter reaches a front end: one connection, made again when it breaks, at one of several addresses.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::resolve;
use crate::ballot::Choice;
use crate::cookie::Voter;

/// Who does not answer in this time is away.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A page is far smaller.
const PAGE_BYTES_MAX: usize = 64 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A plan that can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The URL is none of ours.
    #[error("{0} is not a URL like http://votingapp.local/")]
    Url(String),
    /// A name has no address.
    #[error("find {address}: {source}")]
    Resolve {
        /// What was looked for.
        address: String,
        /// Why it was not found.
        source: std::io::Error,
    },
    /// There is nowhere to vote.
    #[error("{0} has no address")]
    NoAddress(String),
}

/// A page to vote on, and the addresses where it is served.
#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    path: String,
    addresses: Vec<SocketAddr>,
}

impl Target {
    /// The page of a URL, at these addresses (`host:port`) instead of the URL's own if there are any. Requests name
    /// the URL's host all the same, as a balancer needs it.
    pub async fn new(url: &str, addresses: &[String]) -> Result<Self, PlanError> {
        let uri: Uri = url.parse().map_err(|_| PlanError::Url(url.into()))?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(PlanError::Url(url.into()));
        };
        let own = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let names = if addresses.is_empty() { &[own] } else { addresses };
        let mut found = Vec::new();
        for name in names {
            found.extend(resolve(name).await?);
        }
        match found.is_empty() {
            true => Err(PlanError::NoAddress(url.into())),
            false => Ok(Self {
                host: authority.to_string(),
                path: uri.path().to_owned(),
                addresses: found,
            }),
        }
    }
}

/// A voter's connection.
pub(super) struct Line {
    target: Target,
    at: usize,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Line {
    /// Seats spread over the addresses.
    pub(super) fn new(target: Target, seat: u64) -> Self {
        let at = usize::try_from(seat).unwrap_or(0) % target.addresses.len();
        Self { target, at, connection: None }
    }

    /// The next attempt goes elsewhere, if there is an elsewhere.
    pub(super) fn next_address(&mut self) {
        self.at = (self.at + 1) % self.target.addresses.len();
        self.connection = None;
    }

    /// Casts a vote once. What comes back is the answer's status, and what the browser is to remember.
    pub(super) async fn cast(
        &mut self,
        voter: &Voter,
        choice: Choice,
    ) -> Result<(StatusCode, Option<Voter>), Failure> {
        let attempt = tokio::time::timeout(TIMEOUT, self.attempt(voter, choice)).await;
        let outcome = attempt.map_err(Failure::from).and_then(|outcome| outcome);
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    async fn attempt(
        &mut self,
        voter: &Voter,
        choice: Choice,
    ) -> Result<(StatusCode, Option<Voter>), Failure> {
        let request = Request::post(&self.target.path)
            .header(HOST, &self.target.host)
            .header(COOKIE, voter.header())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(format!("vote={}", choice.as_str())))?;
        let connection = self.connection().await?;
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let (head, body) = response.into_parts();
        Limited::new(body, PAGE_BYTES_MAX).collect().await?;
        let cookie = head.headers.get(SET_COOKIE).and_then(|value| value.to_str().ok());
        Ok((head.status, cookie.and_then(Voter::of_header)))
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Failure> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(self.target.addresses[self.at]).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        self.connection.as_mut().ok_or_else(|| "no connection".into())
    }
}
