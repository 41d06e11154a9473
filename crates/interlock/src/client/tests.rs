//! Against real sockets: plain, with TLS both ways, and servers that misbehave.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// Certificates in files, signed by an authority of their own.
struct Files {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let (authority, folder) = (authority(), tempfile::tempdir().expect("a folder"));
        let files = Self { authority, folder };
        let (certificate, key) = files.sign();
        std::fs::write(files.path("ca.pem"), files.authority.pem()).expect("write");
        std::fs::write(files.path("cert.pem"), certificate.pem()).expect("write");
        std::fs::write(files.path("key.pem"), key.serialize_pem()).expect("write");
        files
    }

    fn sign(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("parameters");
        (params.signed_by(&key, &self.authority).expect("a certificate"), key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pair(&self) -> Option<(PathBuf, PathBuf)> {
        Some((self.path("cert.pem"), self.path("key.pem")))
    }

    /// A server that asks clients for a certificate of this authority.
    fn server(&self) -> ServerConfig {
        let (certificate, key) = self.sign();
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.expect("a verifier"))
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a configuration")
    }
}

/// Answers every request with these bytes and hangs up.
async fn serve(answer: &'static str, tls: Option<ServerConfig>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let tls = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream: Box<dyn Wire> = match &tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => continue,
                },
            };
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    format!("tcp://127.0.0.1:{port}")
}

async fn ask(url: &str, certificates: Option<Certificates>) -> String {
    let address = Address::parse(url, certificates.is_some()).expect("an address");
    let client = match Client::new(address, certificates.as_ref()) {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    match client.get::<Value>("/info").await {
        Ok(value) => value.to_string(),
        Err(error) => error.told().replace(url, "URL"),
    }
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";

#[tokio::test]
async fn both_sides_know_each_other() {
    let (ours, others) = (Files::new(), Files::new());
    let url = serve(GOOD, Some(ours.server())).await;
    let with =
        |ca: Option<PathBuf>, pair, is_verified| Some(Certificates { ca, pair, is_verified });
    let ca = ours.path("ca.pem");
    assert_eq!(ask(&url, with(Some(ca.clone()), ours.pair(), true)).await, "[]");
    assert_eq!(ask(&url, with(None, ours.pair(), false)).await, "[]");
    for (certificates, expect) in [
        (with(Some(others.path("ca.pem")), ours.pair(), true), "invalid peer certificate"),
        (with(Some(ca.clone()), others.pair(), true), "URL broke the connection"),
        (with(Some(ca.clone()), None, true), "URL broke the connection"),
        (with(Some(ours.path("none")), None, true), "error loading tls ca cert"),
        (with(Some(ours.path("key.pem")), None, true), "there is no certificate in it"),
        (
            with(Some(ca), Some((ours.path("cert.pem"), others.path("key.pem"))), true),
            "error configuring tls",
        ),
        (None, "URL broke the connection"),
    ] {
        let told = ask(&url, certificates).await;
        assert!(told.contains(expect), "{told}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    for (answer, expect) in [
        (GOOD, "[]"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "answer to /info that makes no sense"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]", "answer to /info that makes no sense"),
        (
            "HTTP/1.1 500 X\r\nContent-Length: 17\r\n\r\n{\"message\":\"bad\"}",
            "URL answers 500 to /info: bad",
        ),
        ("SSH-2.0", "URL broke the connection"),
    ] {
        let url = serve(answer, None).await;
        let told = ask(&url, None).await;
        assert!(told.contains(expect), "{told}");
    }
    assert!(ask("tcp://127.0.0.1:1", None).await.starts_with("cannot connect to URL: "));
}
