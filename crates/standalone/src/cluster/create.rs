//! Making a container: where, and what is tried when that fails.

use std::time::Duration;

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};
use thiserror::Error;

use super::Cluster;
use crate::container_config::{ConfigError, ID_LABEL, Wishes, change_labels};
use crate::engine::{Engine, EngineError, cpus_to_shares, read_container};
use crate::scheduler::{PlacementError, Request, is_same_image};

/// An engine may take so long to make a container: it copies what an image has at the places of volumes.
const CREATE_TIMEOUT: Duration = Duration::from_secs(120);
/// And so long to pull an image.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);

/// A container that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Creation {
    pub(crate) name: String,
    /// The body of the request.
    pub(crate) body: Map<String, Value>,
    /// `X-Registry-Auth`, for a pull.
    pub(crate) auth: Option<HeaderValue>,
}

/// No container.
#[derive(Debug, Error)]
pub(crate) enum CreateError {
    /// The name is somebody else's.
    #[error(
        "Conflict: The name {0} is already assigned. You have to delete (or rename) that container to be able to assign {0} to a container again."
    )]
    NameTaken(String),
    /// What was asked of Swarm makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no engine for it.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Cluster {
    /// Makes a container on the best engine, or the next best where that one can't be reached; tells its identifier.
    pub(crate) async fn create(&self, mut creation: Creation) -> Result<String, CreateError> {
        let mut wishes = Wishes::take(&mut creation.body)?;
        self.place_in_network(&mut creation.body, &mut wishes);
        identify(&mut creation.body);
        let mut tried = Vec::new();
        let mut retries = self.create_retry;
        loop {
            let mut request = Request::of(&creation.body, wishes.clone());
            request.wishes.constraints.clone_from(&wishes.constraints);
            let reservation = self.reserve(&request, &creation.name, &tried)?;
            let engine = reservation.engine.clone();
            let error = match make(&engine, &creation, &request).await {
                Ok(id) => return Ok(id),
                Err(error) => error,
            };
            tracing::error!(
                NodeID = engine.id(), NodeName = engine.name(), %error, "Failed to create container"
            );
            let addr = engine.addr().to_owned();
            let elsewhere = self.engines().iter().any(|engine| {
                engine.is_healthy()
                    && engine.addr() != addr
                    && !tried.contains(&engine.addr().to_owned())
            });
            let image = creation.body.get("Image").and_then(Value::as_str).unwrap_or_default();
            let affinity = format!("image=={image}");
            if error.is_connection() && elsewhere && !wishes.names_node() {
                // An engine that can't be reached made nothing: another one may.
                tried.push(addr);
            } else if error.is_not_found()
                && !wishes.names_node()
                && !wishes.affinities.contains(&affinity)
                && self.has_image(image)
            {
                wishes.affinities.push(affinity);
            } else if retries > 0 {
                retries -= 1;
            } else {
                return Err(error.into());
            }
            tracing::warn!(Name = "Swarm", "Failed to create container: {error}, retrying");
        }
    }

    fn has_image(&self, name: &str) -> bool {
        let engines = self.engines();
        let mut images = engines.iter().flat_map(|engine| engine.picture().images.to_vec());
        images.any(|record| {
            record.image.is_named(name)
                || record.image.tags.iter().any(|tag| is_same_image(tag, name))
        })
    }

    /// A network of one engine leads its containers there: `node-1/net`, or a local one's name alone.
    fn place_in_network(&self, body: &mut Map<String, Value>, wishes: &mut Wishes) {
        let mode = body.get("HostConfig").and_then(|host| host.get("NetworkMode")?.as_str());
        let Some(mode) = mode.map(str::to_owned) else { return };
        let engines = self.engines();
        let named =
            mode.split_once('/').filter(|(node, _)| engines.iter().any(|e| e.name() == *node));
        let (node, network) = match named {
            Some((node, network)) => (Some(node.to_owned()), network.to_owned()),
            None if ["default", "bridge", "host", "none", ""].contains(&mode.as_str()) => return,
            None => (
                engines.iter().find(|engine| has_local_network(engine, &mode)).map(|e| e.name()),
                mode.clone(),
            ),
        };
        let Some(node) = node else { return };
        if !wishes.names_node() {
            let hard = if named.is_some() { "" } else { "~" };
            wishes.constraints.push(format!("node=={hard}{node}"));
        }
        if let Some(Value::Object(host)) = body.get_mut("HostConfig") {
            host.insert("NetworkMode".to_owned(), network.into());
        }
    }
}

fn has_local_network(engine: &Engine, name: &str) -> bool {
    let networks = engine.picture().networks;
    networks.iter().any(|network| network["Name"] == name && network["Scope"] == "local")
}

/// Gives the container the identifier that it keeps wherever it is made anew.
fn identify(body: &mut Map<String, Value>) {
    change_labels(body, |labels| {
        let id: [u8; 32] = rand::random();
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        labels.entry(ID_LABEL).or_insert_with(|| id.into());
    });
}

/// Makes the container on this engine; pulls its image first where it isn't there.
async fn make(
    engine: &Engine,
    creation: &Creation,
    request: &Request,
) -> Result<String, EngineError> {
    let mut body = creation.body.clone();
    if request.cpus > 0
        && let Some(Value::Object(host)) = body.get_mut("HostConfig")
    {
        let shares = cpus_to_shares(request.cpus, engine.picture().specs.cpus);
        host.insert("CpuShares".to_owned(), shares.into());
    }
    let body = Value::Object(body);
    let first = post(engine, &creation.name, &body).await;
    let made = match first {
        Err(error) if error.is_not_found() => {
            let image = body["Image"].as_str().unwrap_or_default();
            let pulled = pull(engine, image, creation.auth.as_ref()).await;
            pulled.map_err(|error| match error {
                // Whatever the reason is, another engine may have the image.
                EngineError::Refused { message, .. } => EngineError::NotPulled { message },
                other => other,
            })?;
            post(engine, &creation.name, &body).await
        }
        made => made,
    };
    engine.note(&made);
    let id = made?["Id"].as_str().unwrap_or_default().to_owned();
    read_container(engine, &id).await?;
    Ok(id)
}

async fn post(engine: &Engine, name: &str, body: &Value) -> Result<Value, EngineError> {
    let path = match name {
        "" => "/containers/create".to_owned(),
        name => format!("/containers/create?name={}", crate::engine::url_encoded(name)),
    };
    engine.target().ask(Method::POST, &path, HeaderMap::new(), Some(body), CREATE_TIMEOUT).await
}

/// Pulls an image to one engine.
async fn pull(engine: &Engine, image: &str, auth: Option<&HeaderValue>) -> Result<(), EngineError> {
    let has_tag = image.contains('@') || image.rsplit('/').next().unwrap_or_default().contains(':');
    let tag = if has_tag { "" } else { "&tag=latest" };
    let path = format!("/images/create?fromImage={}{tag}", crate::engine::url_encoded(image));
    let mut headers = HeaderMap::new();
    let none = base64::engine::general_purpose::URL_SAFE.encode("{}");
    let auth = auth.cloned().or_else(|| HeaderValue::from_str(&none).ok());
    if let Some(auth) = auth {
        headers.insert("X-Registry-Auth", auth);
    }
    engine.target().lines(Method::POST, &path, headers, PULL_TIMEOUT).await
}
