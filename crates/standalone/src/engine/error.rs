//! Why an engine did not do what it was asked.

use http::StatusCode;
use serde_json::Value;
use thiserror::Error;

/// So much of an engine's own words is told on.
const WORDS_MAX: usize = 4096;

/// An engine did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub(crate) enum EngineError {
    /// Nobody answers.
    #[error(
        "Cannot connect to the Docker daemon at tcp://{addr}. Is the docker daemon running? ({problem})"
    )]
    Unreachable {
        /// `host:port`
        addr: String,
        /// What the system says.
        problem: String,
    },
    /// The connection was made, and broke: it may have done what it was asked, and the client may be at fault.
    #[error("error during connect: the connection to tcp://{addr} broke: {problem}")]
    Broken {
        /// `host:port`
        addr: String,
        /// What the system says.
        problem: String,
    },
    /// It does not answer in time.
    #[error("the docker engine at {addr} does not answer")]
    Silent {
        /// `host:port`
        addr: String,
    },
    /// It answered with an error.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// The engine's words.
        message: String,
    },
    /// It has not got the image, and could not pull it.
    #[error("{message}")]
    NotPulled {
        /// The engine's words.
        message: String,
    },
    /// It is not the one that it was.
    #[error("Engine (ID: {old}, Addr: {addr}) shows up with another ID:{new}.")]
    Replaced {
        /// `host:port`
        addr: String,
        /// The identifier that it had.
        old: String,
        /// And the one that it has.
        new: String,
    },
    /// The manager was the primary when it began, and is no more.
    #[error("No elected primary cluster manager: this one is not the primary any more")]
    NotPrimary,
    /// It answered with something else than it should.
    #[error("the docker engine at {addr} gave an answer that makes no sense: {problem}")]
    Nonsense {
        /// `host:port`
        addr: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl EngineError {
    /// Whether the engine itself is lost, rather than the request be at fault.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. })
    }

    /// Whether another engine may do what this one could not.
    pub(crate) fn is_connection(&self) -> bool {
        self.is_loss() || matches!(self, Self::Broken { .. })
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. } | Self::NotPulled { .. })
    }
}

/// The words of an error's body.
pub(super) fn message(bytes: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(bytes).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    let words = message.map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), str::to_owned);
    words.trim().chars().take(WORDS_MAX).collect()
}

/// An error with what caused it.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
