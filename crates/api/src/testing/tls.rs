//! TCP with TLS: who gets in with which certificate.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::Api;
use crate::{ClientCertificates, Listener, Server, TlsError, TlsFiles, server_config};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        Self(CertifiedIssuer::self_signed(params, key).expect("authority"))
    }

    /// A certificate for `localhost` and its key, as PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        let certificate = params.signed_by(&key, &self.0).expect("certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn files(folder: &Path, authority: &Authority) -> TlsFiles {
    let (cert, key) = authority.issue();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("write");
        path
    };
    TlsFiles {
        ca_cert: write("ca.pem", &authority.0.pem()),
        cert: write("cert.pem", &cert),
        key: write("key.pem", &key),
    }
}

/// What a client with these credentials reads of `/_ping`; nothing if it is not let in.
async fn ping(port: u16, authority: &Authority, identity: Option<(String, String)>) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).expect("root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("certificate");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("key");
            builder.with_client_auth_cert(vec![cert], key).expect("identity")
        }
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
    let name = ServerName::try_from("localhost").expect("name");
    let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, stream).await else {
        return String::new();
    };
    let request = b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() {
        // A server that refuses the certificate resets the connection instead of answering.
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn certificates_decide_who_gets_in() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("folder");
    let files = files(folder.path(), &ours);
    // Whether a client without a certificate, with a foreign one, and with one of ours gets in.
    for (clients, expected) in [
        (ClientCertificates::NotAsked, [true, true, true]),
        (ClientCertificates::Optional, [true, false, true]),
        (ClientCertificates::Required, [false, false, true]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let config = server_config(&files, clients).expect("TLS");
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(Server::serve(
            vec![Listener::Tls(listener, config)],
            Api::alone().state(),
            async {
                let _ = stopped.await;
            },
        ));
        for (identity, gets_in) in
            [None, Some(foreign.issue()), Some(ours.issue())].into_iter().zip(expected)
        {
            let known = identity.is_some();
            let answer = ping(port, &ours, identity).await;
            assert_eq!(
                answer.starts_with("HTTP/1.1 200"),
                gets_in,
                "{clients:?}, certificate {known}: {answer}"
            );
        }
        drop(stop);
        server.await.expect("server");
    }
}

#[test]
fn bad_files_are_named() {
    let folder = tempfile::tempdir().expect("folder");
    let good = files(folder.path(), &Authority::new());
    let check = |files: TlsFiles, expected: &str| {
        let error = server_config(&files, ClientCertificates::Required).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(TlsFiles { cert: "/nowhere".into(), ..good.clone() }, "could not read TLS file /nowhere");
    check(TlsFiles { key: good.cert.clone(), ..good.clone() }, "could not parse TLS file");
    std::fs::write(folder.path().join("empty.pem"), "").expect("write");
    check(
        TlsFiles { ca_cert: folder.path().join("empty.pem"), ..good.clone() },
        "could not use the CA of",
    );
    let (_, other) = Authority::new().issue();
    std::fs::write(folder.path().join("other.pem"), other).expect("write");
    let files = TlsFiles { key: folder.path().join("other.pem"), ..good };
    assert!(matches!(
        server_config(&files, ClientCertificates::NotAsked),
        Err(TlsError::Configure(_))
    ));
}
