//! Makes one swarm of the hosts and creates the service, through the Docker API only.

use anyhow::Context as _;
use hyper::body::Bytes;
use serde_json::json;

use super::host::Host;
use super::{hello, image};

/// The service's name.
pub(super) const SERVICE: &str = "web";
/// Tasks of the service.
pub(super) const REPLICAS: u64 = 6;
const PORT: u16 = 2377;

/// The first host becomes the manager, the others its workers.
pub(super) async fn form(hosts: &[Host]) -> anyhow::Result<()> {
    let Some((manager, workers)) = hosts.split_first() else { return Ok(()) };
    let listen = format!("0.0.0.0:{PORT}");
    let init = json!({
        "ListenAddr": listen,
        "AdvertiseAddr": manager.address(),
        "Spec": {},
    });
    manager.client().post("/swarm/init", &init).await?;
    let swarm = manager.client().get("/swarm").await?;
    let token = swarm["JoinTokens"]["Worker"].as_str().context("no join token")?;
    for worker in workers {
        let join = json!({
            "ListenAddr": listen,
            "AdvertiseAddr": worker.address(),
            "RemoteAddrs": [format!("{}:{PORT}", manager.address())],
            "JoinToken": token,
        });
        let joined = worker.client().post("/swarm/join", &join).await;
        joined.with_context(|| format!("joining {}", worker.name()))?;
    }
    Ok(())
}

/// Loads the image into every host's engine.
pub(super) async fn load_image(hosts: &[Host]) -> anyhow::Result<()> {
    let archive = Bytes::from(image::archive().context("building the image")?);
    for host in hosts {
        let loaded = host.client().post_archive("/images/load?quiet=1", archive.clone()).await;
        loaded.with_context(|| format!("loading the image on {}", host.name()))?;
    }
    Ok(())
}

/// Creates the service on the manager.
pub(super) async fn create_service(manager: &Host) -> anyhow::Result<()> {
    let service = json!({
        "Name": SERVICE,
        "TaskTemplate": { "ContainerSpec": {
            "Image": image::NAME,
            "Env": [
                format!("{}={{{{.Task.Name}}}}", hello::TASK),
                format!("{}={{{{.Node.Hostname}}}}", hello::NODE),
            ],
        } },
        "Mode": { "Replicated": { "Replicas": REPLICAS } },
        // Each task gets a free port of its node, so that a node can run several.
        "EndpointSpec": {
            "Mode": "dnsrr",
            "Ports": [{ "Protocol": "tcp", "TargetPort": image::PORT, "PublishMode": "host" }],
        },
    });
    manager.client().post("/services/create", &service).await?;
    Ok(())
}
