//! A registry in a thread that answers as it is told: token logins, and content that is not what its name says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// One prepared answer.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
}

/// See the module. The thread ends with the test's process.
pub(crate) struct FakeRegistry {
    pub(crate) address: String,
}

/// What a test prepares.
#[derive(Clone, Default)]
pub(crate) struct Content {
    /// Answers by path.
    pub(crate) answers: HashMap<String, Answer>,
    /// The `Authorization` header that the token service wants; with it, all else wants the token.
    pub(crate) login: Option<String>,
}

const TOKEN: &str = "token-of-the-test";

impl FakeRegistry {
    pub(crate) fn start(content: Content) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let (content, own) = (Arc::new(content), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, own) = (content.clone(), own.clone());
                std::thread::spawn(move || serve(stream, &content, &own));
            }
        });
        Self { address }
    }
}

fn serve(mut stream: TcpStream, content: &Content, address: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = [0; 1];
    // A TLS hello is answered by hanging up, like a server that only speaks plain HTTP.
    reader.read_exact(&mut first).ok().filter(|()| first[0] != 0x16)?;
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let path = request.split(' ').nth(1)?.to_owned();
    let mut authorization = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if line.to_lowercase().starts_with("authorization:") {
            authorization = line.split_once(": ").map(|(_, value)| value.trim().to_owned());
        }
    }
    let answer = decide(content, path.split('?').next()?, authorization.as_deref());
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"test\"\r\n");
    let head = format!(
        "HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
        answer.status,
        answer.kind,
        answer.body.len(),
        if answer.status == 401 { challenge.as_str() } else { "" }
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&answer.body).ok()
}

fn decide(content: &Content, path: &str, authorization: Option<&str>) -> Answer {
    let json = |status, body: &str| Answer { status, kind: "application/json", body: body.into() };
    if let Some(login) = &content.login {
        if path == "/token" {
            return match authorization {
                Some(given) if given == login => json(200, &format!("{{\"token\":\"{TOKEN}\"}}")),
                Some(_) => json(401, r#"{"details":"incorrect username or password"}"#),
                None => json(200, r#"{"token":"of no use"}"#),
            };
        }
        if authorization != Some(&format!("Bearer {TOKEN}")) {
            return json(
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            );
        }
    }
    match content.answers.get(path) {
        Some(answer) => answer.clone(),
        None if path == "/v2/" => json(200, "{}"),
        None => {
            json(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
        }
    }
}
