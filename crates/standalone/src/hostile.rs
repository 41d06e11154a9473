//! Engines that lie, hang, flood and never end, as small servers on loopback: each stays alone with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::api::Manager;
use crate::cluster::Cluster;
use crate::discovery::Entry;
use crate::engine::EngineOptions;
use crate::scheduler::{Filter, Scheduler, Strategy};

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whoever has nothing to do with a hostile engine hears within this.
const SOON: Duration = Duration::from_secs(5);

/// What an engine does when it is asked.
enum Answer {
    Json(Value),
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, and then those for ever.
    Endless(&'static str, &'static str),
    /// Nothing, for ever.
    Hang,
    /// A byte now and then.
    Slow,
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";

/// What an engine with one container says.
fn honest(name: &str, path: &str) -> Answer {
    let path = path.split('?').next().unwrap_or_default();
    let id = format!("{name:0<64}");
    let summary = json!({"Id": id, "Names": [format!("/on-{name}")], "Image": "busybox",
        "State": "running", "Status": "Up 5 seconds"});
    Answer::Json(match path {
        "/info" => json!({"ID": name, "Name": name, "NCPU": 4, "MemTotal": 1 << 30,
            "ServerVersion": "20.10"}),
        "/containers/json" => json!([summary]),
        "/events" => return Answer::Endless(STREAM, ""),
        "/images/json" | "/networks" => json!([]),
        "/volumes" => json!({"Volumes": []}),
        "/_ping" => json!("OK"),
        _ => json!({"Id": id, "Created": "2026-01-01T00:00:00Z", "Config": {"Labels": {}},
            "HostConfig": {}, "State": {"Running": true, "StartedAt": "2026-01-01T00:00:00Z"}}),
    })
}

/// An engine that answers like this; its address, and how many connections it was asked for.
async fn engine(
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("an address").to_string();
    let (answer, connections) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            // Whoever asked may go at any time.
            tokio::spawn(async move {
                let _ = talk(stream, &*answer).await;
            });
        }
    });
    (addr, connections)
}

async fn talk(
    stream: TcpStream,
    answer: &(dyn Fn(&str) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
            let line = head[begin..].to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        match answer(head.split(' ').nth(1).unwrap_or_default()) {
            Answer::Json(value) => {
                let text = value.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
                stream.write_all((head + &text).as_bytes()).await?;
            }
            Answer::Raw(bytes) => return stream.write_all(&bytes).await,
            Answer::Endless(begin, piece) => {
                stream.write_all(begin.as_bytes()).await?;
                let piece = piece.repeat(1000);
                while !piece.is_empty() {
                    stream.write_all(piece.as_bytes()).await?;
                }
                return std::future::pending().await;
            }
            Answer::Hang => return std::future::pending().await,
            Answer::Slow => loop {
                stream.write_all(b"H").await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            },
        }
    }
}

/// A manager in front of these.
fn manager(addrs: &[&str]) -> Manager {
    let scheduler = Scheduler { strategy: Strategy::Spread, filters: Filter::ALL.to_vec() };
    let options = EngineOptions {
        failure_retry: 3,
        overcommit: 5,
        refresh: (Duration::from_millis(200), Duration::from_millis(300)),
        tls: None,
        leadership: crate::leadership::Leadership::default(),
    };
    let manager = Manager::new(Cluster::new(scheduler, options, 0));
    let entries: Vec<Entry> =
        addrs.iter().map(|addr| Entry::parse(addr).expect("an address")).collect();
    manager.cluster.set_engines(&entries);
    manager
}

/// What the manager answers, and within what everybody may expect it to.
async fn ask(manager: &Manager, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let answer = tokio::time::timeout(SOON, manager.serve(request)).await;
    let body = answer.expect("an answer in time").into_body().collect().await.expect("a body");
    let bytes = body.to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into())
}

async fn names(manager: &Manager) -> Vec<String> {
    let listed = ask(manager, "/containers/json").await;
    let listed = listed.as_array().cloned().unwrap_or_default();
    listed.iter().map(|entry| entry["Names"][0].as_str().unwrap_or_default().to_owned()).collect()
}

/// The rows of `docker info` of that name.
async fn rows(manager: &Manager, name: &str) -> Vec<String> {
    let info = ask(manager, "/info").await;
    let rows = info["SystemStatus"].as_array().cloned().unwrap_or_default();
    let of_name = rows.iter().filter(|row| row[0].as_str().is_some_and(|own| own.ends_with(name)));
    of_name.map(|row| row[1].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until it is so.
async fn wait_for<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("waited for {what} in vain"))
}

async fn wait_for_rows(manager: &Manager, name: &str, expect: impl Fn(&[String]) -> bool) {
    wait_for(name, async || expect(&rows(manager, name).await).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_cannot_be_read_stays_out_and_alone() {
    let lie = |head: &str| Answer::Raw(format!("HTTP/1.1 200 OK\r\n{head}").into_bytes());
    type Lie = Box<dyn Fn(&str) -> Option<Answer> + Send + Sync>;
    let at = |path: &'static str, answer: fn() -> Answer| -> Lie {
        Box::new(move |asked: &str| asked.starts_with(path).then(answer))
    };
    let lies: [(Lie, &str); 9] = [
        (at("/info", || Answer::Endless(STREAM, "{\"a\":")), "makes no sense"),
        (at("/containers/json", || Answer::Endless(STREAM, "[{},")), "makes no sense"),
        (at("/images/json", || Answer::Json(json!(vec![0; 30_000]))), "30000 entries"),
        (at("/info", || Answer::Json(json!("not an object"))), "cannot get resources"),
        (
            at("/info", || Answer::Json(json!({"NCPU": -1, "MemTotal": "x"}))),
            "cannot get resources",
        ),
        (at("/info", || Answer::Raw(b"this is no HTTP\r\n\r\n".to_vec())), "annot connect"),
        (Box::new(move |_| Some(lie("Content-Length: 100\r\n\r\n{}"))), "makes no sense"),
        (Box::new(|_| Some(Answer::Slow)), ""),
        (Box::new(|_| Some(Answer::Hang)), ""),
    ];
    let (good, _) = engine(|path| honest("good", path)).await;
    let (mut addrs, mut expects) = (vec![good], Vec::new());
    for (lie, expect) in lies {
        addrs.push(engine(move |path| lie(path).unwrap_or_else(|| honest("bad", path))).await.0);
        expects.push(expect);
    }
    let manager = manager(&addrs.iter().map(String::as_str).collect::<Vec<_>>());
    wait_for_rows(&manager, "Status", |rows| rows.iter().any(|status| status == "Healthy")).await;
    assert_eq!(names(&manager).await, ["/good/on-good"]);
    wait_for_rows(&manager, "Error", |errors| {
        expects.iter().all(|expect| errors.iter().any(|error| error.contains(expect)))
    })
    .await;
    let status = rows(&manager, "Status").await;
    assert_eq!(status.iter().filter(|status| *status == "Pending").count(), 9, "{status:?}");
    assert_eq!(names(&manager).await, ["/good/on-good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_read_is_known_by_the_list() {
    let (addr, _) = engine(|path| match path.split('?').next() {
        Some(one) if one.starts_with("/containers/n") => Answer::Json(json!({"Id": "another"})),
        _ => honest("n", path),
    })
    .await;
    let manager = manager(&[&addr]);
    wait_for_rows(&manager, "Status", |rows| rows == ["Healthy"]).await;
    assert_eq!(names(&manager).await, ["/n/on-n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_may_be_shared_and_may_change() {
    let (one, _) = engine(|path| honest("twin", path)).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let changed = asked.clone();
    let (other, _) = engine(move |path| match path {
        "/info" if changed.fetch_add(1, Ordering::Relaxed) >= 3 => honest("later", path),
        _ if changed.load(Ordering::Relaxed) >= 4 => honest("later", path),
        _ => honest("twin", path),
    })
    .await;
    let manager = manager(&[&one, &other]);
    wait_for_rows(&manager, "ID", |ids| {
        ids.contains(&format!("twin|{one}")) && ids.contains(&format!("twin|{other}"))
    })
    .await;
    wait_for_rows(&manager, "ID", |ids| {
        ids.contains(&format!("twin|{one}")) && ids.contains(&format!("later|{other}"))
    })
    .await;
    wait_for_rows(&manager, "Status", |rows| rows == ["Healthy", "Healthy"]).await;
    let mut names = names(&manager).await;
    names.sort();
    assert_eq!(names, ["/later/on-later", "/twin/on-twin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_events_hold_nobody_up() {
    const EVENT: &str = "{\"Type\":\"plugin\",\"Action\":\"enable\",\"timeNano\":1}\n";
    for flood in [EVENT, "{", "\n", "[[[[", "\"\u{0}"] {
        let (good, _) = engine(|path| match path.starts_with("/events") {
            true => Answer::Raw(
                format!("{STREAM}{{\"Type\":\"network\",\"Action\":\"own\",\"timeNano\":5}}\n")
                    .into_bytes(),
            ),
            false => honest("good", path),
        })
        .await;
        let (bad, _) = engine(move |path| match path.starts_with("/events") {
            true => Answer::Endless(STREAM, flood),
            false => honest("bad", path),
        })
        .await;
        let manager = manager(&[&good, &bad]);
        let (_, mut following) = manager.cluster.events.follow();
        let told = wait_for("the event of the good one", async || {
            let event = following.next().await.expect("not cut off");
            (event.event["Action"] == "own").then_some(event)
        });
        assert_eq!(told.await.origin.name, "good");
        assert_eq!(rows(&manager, "Status").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_engine_that_hangs_hears_soon() {
    let is_hung = Arc::new(AtomicUsize::new(0));
    let hung = is_hung.clone();
    let (bad, _) = engine(move |path| match hung.load(Ordering::Relaxed) {
        0 => honest("bad", path),
        _ => Answer::Hang,
    })
    .await;
    let (good, _) = engine(|path| honest("good", path)).await;
    let manager = manager(&[&good, &bad]);
    wait_for_rows(&manager, "Status", |rows| rows == ["Healthy", "Healthy"]).await;
    is_hung.store(1, Ordering::Relaxed);
    // Passed on as it came, and asked for by the manager itself.
    let logs = ask(&manager, "/containers/on-bad/logs");
    let (logs, details) = tokio::join!(logs, ask(&manager, "/containers/on-bad/json"));
    for said in [logs, details] {
        assert!(said.as_str().is_some_and(|said| said.contains("does not answer")), "{said}");
    }
    wait_for_rows(&manager, "Status", |rows| rows == ["Unhealthy", "Healthy"]).await;
    assert_eq!(names(&manager).await, ["/good/on-good"]);
    let refused = ask(&manager, "/containers/on-bad/json").await;
    assert_eq!(refused, "Container on-bad running on unhealthy node bad\n");
    is_hung.store(0, Ordering::Relaxed);
    wait_for_rows(&manager, "Status", |rows| rows == ["Healthy", "Healthy"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_is_no_fault_of_the_engine() {
    let (addr, _) = engine(|path| honest("n", path)).await;
    let manager = manager(&[&addr]);
    wait_for_rows(&manager, "Status", |rows| rows == ["Healthy"]).await;
    for _ in 0..10 {
        let piece = futures::stream::iter([
            Ok(bytes::Bytes::from_static(b"begun")),
            Err(std::io::Error::other("the client has gone")),
        ]);
        let request = Request::put("/containers/on-n/archive?path=/");
        let request = request.body(Body::from_stream(piece)).expect("a request");
        manager.serve(request).await;
    }
    assert_eq!(rows(&manager, "Status").await, ["Healthy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_share_connections() {
    let (addr, connections) = engine(|path| honest("n", path)).await;
    let manager = manager(&[&addr]);
    wait_for_rows(&manager, "Status", |rows| rows == ["Healthy"]).await;
    let id = format!("{:0<64}", "n");
    for _ in 0..100 {
        let path = format!("/containers/{id}/json");
        assert_eq!(ask(&manager, &path).await["Node"]["Name"], "n");
    }
    let made = connections.load(Ordering::Relaxed);
    assert!(made <= 10, "{made} connections");
}
