//! The HTTP side: a thread for each connection, an answer for each request, one that waits for an index included.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Shared;
use super::state::{Pair, State};

/// How often sessions are looked at.
const TICK: Duration = Duration::from_millis(50);
/// A query that names no time waits so long.
const WAIT: Duration = Duration::from_secs(300);

struct Request {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), decoded(value))
        };
        let query = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
        Some(Self { method, path: decoded(path), query, body })
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'%').then(|| after.get(..2)).flatten();
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Serves until it is over.
pub(super) fn run(listener: &TcpListener, shared: &Arc<Shared>, is_over: &Arc<AtomicBool>) {
    let (ticking, over) = (shared.clone(), is_over.clone());
    std::thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            if ticking.state.lock().expect("the state").expire() {
                ticking.changed.notify_all();
            }
            std::thread::sleep(TICK);
        }
    });
    for stream in listener.incoming().flatten() {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let (shared, is_over) = (shared.clone(), is_over.clone());
        std::thread::spawn(move || talk(&stream, &shared, &is_over));
    }
}

fn talk(mut stream: &TcpStream, shared: &Shared, is_over: &AtomicBool) {
    let Some(request) = Request::read(stream) else { return };
    let (status, index, body) = answer(&request, shared, is_over);
    if is_over.load(Ordering::SeqCst) {
        return;
    }
    let head = format!(
        "HTTP/1.1 {status} x\r\nX-Consul-Index: {index}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Whoever asked may be gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn answer(request: &Request, shared: &Shared, is_over: &AtomicBool) -> (u16, u64, String) {
    let mut state = shared.state.lock().expect("the state");
    if request.method == "GET" {
        let after: u64 = request.query("index").and_then(|index| index.parse().ok()).unwrap_or(0);
        let wait = request.query("wait").and_then(|wait| wait.strip_suffix('s')?.parse().ok());
        let until = Instant::now() + wait.map_or(WAIT, Duration::from_secs);
        // Real ones have an index of their own for each prefix; one for all makes queries wake up too often, never too
        // seldom.
        while after > 0 && state.index <= after && Instant::now() < until {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            state = shared.changed.wait_timeout(state, TICK).expect("the state").0;
        }
        let index = state.index;
        let found = found(&state, request);
        return match found.is_empty() {
            true => (404, index, String::new()),
            false => (200, index, Value::from(found).to_string()),
        };
    }
    let (status, body) = change(&mut state, request);
    let index = state.index;
    drop(state);
    shared.changed.notify_all();
    (status, index, body)
}

fn found(state: &State, request: &Request) -> Vec<Value> {
    let Some(key) = request.path.strip_prefix("/v1/kv/") else { return Vec::new() };
    let is_wanted = |name: &str| match request.query("recurse") {
        Some(_) => name.starts_with(key),
        None => name == key,
    };
    state
        .pairs
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, pair)| shown(name, pair))
        .collect()
}

fn shown(key: &str, pair: &Pair) -> Value {
    let value = (!pair.value.is_empty()).then(|| base64(&pair.value));
    let mut shown = json!({
        "LockIndex": pair.lock_index, "Key": key, "Flags": pair.flags, "Value": value,
        "CreateIndex": pair.create_index, "ModifyIndex": pair.modify_index,
    });
    if let Some(session) = &pair.session {
        shown["Session"] = session.as_str().into();
    }
    shown
}

fn change(state: &mut State, request: &Request) -> (u16, String) {
    if let Some(key) = request.path.strip_prefix("/v1/kv/") {
        if request.method == "DELETE" {
            state.pairs.remove(key);
            state.index += 1;
            return (200, "true".to_owned());
        }
        let flags = request.query("flags").and_then(|flags| flags.parse().ok()).unwrap_or(0);
        let (acquire, release) = (request.query("acquire"), request.query("release"));
        return match state.put(key, request.body.clone(), flags, acquire, release) {
            Ok(done) => (200, done.to_string()),
            Err(problem) => (500, problem),
        };
    }
    let Some(verb) = request.path.strip_prefix("/v1/session/") else { return (404, String::new()) };
    match verb.split_once('/').unwrap_or((verb, "")) {
        ("create", _) => {
            let wanted: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let ttl = wanted["TTL"].as_str().and_then(duration).unwrap_or_default();
            match state.create(ttl, wanted["Behavior"] == "delete") {
                Ok(id) => (200, json!({ "ID": id }).to_string()),
                Err(problem) => (500, problem),
            }
        }
        ("renew", id) if state.renew(id) => (200, json!([{ "ID": id }]).to_string()),
        ("renew", id) => (404, format!("Session id '{id}' not found")),
        ("destroy", id) => {
            state.destroy(id);
            (200, "true".to_owned())
        }
        _ => (404, String::new()),
    }
}

/// Of Go's durations the two that are sent.
fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(text) => text.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
