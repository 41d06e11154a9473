//! The stock `docker` CLI against the API: what it prints is what users see.
//!
//! Skipped, with the reason printed, where there is no `docker`.

use std::process::Command;

use expect_test::{Expect, expect};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::Api;
use super::requests::control;
use crate::{Listener, Server};

fn docker(socket: &str, args: &[&str]) -> String {
    let output = Command::new("docker")
        .args(["-H", &format!("unix://{socket}")])
        .args(args)
        .env_remove("DOCKER_API_VERSION")
        .env_remove("DOCKER_CONTEXT")
        .env("DOCKER_CONFIG", "/nonexistent")
        .output()
        .expect("docker");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

async fn check(socket: &str, args: &'static [&'static str], expect: Expect) {
    let socket = socket.to_owned();
    let text = tokio::task::spawn_blocking(move || docker(&socket, args)).await.expect("docker");
    let trimmed: Vec<_> = text.lines().map(str::trim_end).collect();
    expect.assert_eq(&trimmed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_client_prints_the_cluster() {
    if Command::new("docker").arg("--version").output().is_err() {
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        {
            eprintln!("skipped: there is no docker CLI");
        }
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("api.sock");
    let listener = Listener::Unix(UnixListener::bind(&path).expect("socket"));
    let api = Api::manager(control());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(Server::serve(vec![listener], api.state(), async {
        let _ = stopped.await;
    }));
    let socket = path.to_str().expect("path");
    check(
        socket,
        &["node", "ls"],
        expect![[r#"
        ID        HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION
        node1 *   host1      Ready     Active         Leader           1.0"#]],
    )
    .await;
    check(
        socket,
        &["service", "ls"],
        expect![[r#"
        ID         NAME      MODE         REPLICAS   IMAGE     PORTS
        service1   web       replicated   1/2        alpine"#]],
    )
    .await;
    check(
        socket,
        &["service", "ps", "web", "--format", "{{.Name}} {{.Node}} {{.DesiredState}}"],
        expect!["web.1 host1 Running"],
    )
    .await;
    check(
        socket,
        &["node", "inspect", "self", "--pretty"],
        expect![[r#"
        ID:			node1
        Hostname:              	host1
        Joined at:             	2023-11-14 22:13:20.000000005 +0000 utc
        Status:
         State:			Ready
         Availability:         	Active
         Address:		10.0.0.1
        Manager Status:
         Address:		10.0.0.1:2377
         Raft Status:		Reachable
         Leader:		Yes
        Platform:
         Operating System:	linux
         Architecture:		x86_64
        Resources:
         CPUs:			2
         Memory:		1GiB
        Engine Version:		1.0"#]],
    )
    .await;
    check(
        socket,
        &["service", "inspect", "web", "--pretty"],
        expect![[r#"

        ID:		service1
        Name:		web
        Service Mode:	Replicated
         Replicas:	2
        Placement:
        ContainerSpec:
         Image:		alpine
        Endpoint Mode:
    "#]],
    )
    .await;
    check(socket, &["info", "--format", "{{json .Swarm}}"], expect![[r#"{"NodeID":"node1","NodeAddr":"10.0.0.1","LocalNodeState":"active","ControlAvailable":true,"Error":"","RemoteManagers":null,"Nodes":1,"Managers":1,"Cluster":{"ID":"cluster1","Version":{"Index":3},"CreatedAt":"2023-11-14T22:13:20.000000005Z","UpdatedAt":"2023-11-14T22:13:20.000000005Z","Spec":{"Name":"default","Labels":{},"Orchestration":{"TaskHistoryRetentionLimit":5},"Raft":{"SnapshotInterval":10000,"KeepOldSnapshots":0,"LogEntriesForSlowFollowers":500,"ElectionTick":10,"HeartbeatTick":1},"Dispatcher":{"HeartbeatPeriod":5000000000},"CAConfig":{"NodeCertExpiry":7776000000000000},"TaskDefaults":{},"EncryptionConfig":{"AutoLockManagers":false}},"TLSInfo":{},"RootRotationInProgress":false,"DefaultAddrPool":[],"SubnetSize":0,"DataPathPort":0}}"#]]).await;
    check(socket, &["swarm", "join-token", "-q", "worker"], expect!["SWMTKN-w"]).await;
    check(
        socket,
        &["service", "create", "--detach", "--name", "web", "alpine", "ping", "google.com"],
        expect![[r#"
        service1
        image alpine:latest could not be accessed on a registry to record
        its digest. Each node will access alpine:latest independently,
        possibly leading to different nodes running different
        versions of the image.
    "#]],
    )
    .await;
    check(socket, &["service", "scale", "--detach", "web=3"], expect!["web scaled to 3"]).await;
    check(
        socket,
        &["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"],
        expect![[r#"
        bridge bridge local
        host host local
        none null local"#]],
    )
    .await;
    check(socket, &["ps", "--format", "{{.Names}}"], expect!["web"]).await;
    check(
        socket,
        &["create", "--name", "x", "-p", "80:80", "--memory", "64m", "alpine", "ls"],
        expect!["c1"],
    )
    .await;
    check(socket, &["run", "alpine", "ls"], expect!["hello"]).await;
    check(
        socket,
        &["version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}"],
        expect!["1.51 1.24"],
    )
    .await;
    drop(stop);
    server.await.expect("server");
}
