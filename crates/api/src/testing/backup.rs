//! Backups on the API: files as they are, keys in a header, and what is refused before the cluster is asked.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;

use super::{Api, FakeControl};

/// Status and body of a request with this key.
async fn ask(api: &Api, uri: &str, key: Option<&str>, body: &'static str) -> (u16, String) {
    let mut request = Request::post(uri);
    if let Some(key) = key {
        request = request.header("x-swarm-backup-key", key);
    }
    let response = api.send(request.body(Body::from(body)).expect("a request")).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).trim().to_owned())
}

#[tokio::test]
async fn backups_go_out_and_come_in() {
    let (alone, manager) = (Api::alone(), Api::manager(FakeControl::default()));
    let restore = "/v1.40/swarm/restore?advertiseAddr=10.0.0.1:99";
    for (api, uri, key, body, status, part) in [
        (&manager, "/swarm/backup", None, "", 200, "backup with None"),
        (&manager, "/swarm/backup", Some("aG9yc2U="), "", 200, r#"backup with Some("horse")"#),
        (&manager, "/swarm/backup", Some("%"), "", 400, "the backup's key must be text"),
        (&manager, "/swarm/backup", Some(""), "", 400, "the backup's key must be text"),
        (&manager, "/swarm/backup", Some("/w=="), "", 400, "the backup's key must be text"),
        (&alone, "/swarm/backup", None, "", 503, "This node is not a swarm manager."),
        (&alone, restore, None, "bytes", 200, r#""bytes at 10.0.0.1:99""#),
        (&alone, restore, Some("%"), "bytes", 400, "the backup's key must be text"),
        (&manager, restore, None, "bytes", 503, "This node is already part of a swarm."),
    ] {
        let (found, said) = ask(api, uri, key, body).await;
        assert!(found == status && said.contains(part), "{uri} {key:?}: {found} {said}");
    }
}

#[tokio::test]
async fn a_new_cluster_keeps_its_settings() {
    let api = Api::alone();
    for (settings, status) in [
        ("", 200),
        (r#","Spec":{"Orchestration":{"TaskHistoryRetentionLimit":5}}"#, 200),
        (r#","SubnetSize":24,"ListenAddr":"0.0.0.0:2377""#, 200),
        (r#","Spec":{"Orchestration":{"TaskHistoryRetentionLimit":9}}"#, 400),
        (r#","Spec":{"CAConfig":{"NodeCertExpiry":7200000000000}}"#, 400),
        (r#","AutoLockManagers":true"#, 400),
        (r#","DefaultAddrPool":["10.0.0.0/8"]"#, 400),
        (r#","DataPathPort":4790"#, 400),
    ] {
        let body = format!(r#"{{"ForceNewCluster":true{settings}}}"#);
        let (found, said) = api.post("/swarm/init", &body).await;
        assert_eq!(found, status, "{settings}: {said}");
        let asked = api.cluster.inits.lock().expect("lock").pop();
        assert_eq!(asked.is_some_and(|asked| asked.force_new_cluster), status == 200);
    }
}
