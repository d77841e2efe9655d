//! TLS on the way in.

use std::{fs, path::Path};

use kt_control_plane::{ControlPlane, StartError, settings::TlsSettings};
use kt_proto::v1;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::plane::{Plane, settings};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn callers_are_served_over_tls_and_by_certificate_where_that_is_asked_for() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = authority.issue("localhost");
    let mut settings = settings(folder.path());
    settings.tls = Some(TlsSettings {
        cert: write(folder.path(), "cert.pem", &cert),
        key: write(folder.path(), "key.pem", &key),
        client_ca: Some(write(folder.path(), "ca.pem", &authority.pem())),
    });
    let plane = Plane::with(settings, folder).await;
    let (cert, key) = authority.issue("client");
    let (stranger, stranger_key) = Authority::new().issue("client");
    let trusting = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("localhost");
    for (what, tls, is_served) in [
        ("a known certificate", trusting.clone().identity(Identity::from_pem(cert, key)), true),
        ("no certificate", trusting.clone(), false),
        ("a certificate of a stranger", trusting.identity(Identity::from_pem(stranger, stranger_key)), false),
    ] {
        let endpoint =
            Endpoint::from_shared(format!("https://{}", plane.grpc)).unwrap().tls_config(tls).unwrap();
        let client = v1::token_service_client::TokenServiceClient::new(endpoint.connect_lazy());
        let mut request = tonic::Request::new(v1::WhoAmIRequest {});
        let token = format!("Bearer {}", plane.secret.as_ref().unwrap());
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        let answer = client.clone().who_am_i(request).await;
        assert_eq!(answer.is_ok(), is_served, "{what}: {answer:?}");
    }
    // Nor in clear text.
    assert!(plane.first().tokens().who_am_i(v1::WhoAmIRequest {}).await.is_err());
    plane.stop().await;
}

/// The folder of a secret as Kubernetes mounts it: files are links through `..data`, which is swapped.
struct Secret(std::path::PathBuf);

impl Secret {
    fn swap(&self, number: u32, cert: &str, key: &str) {
        let folder = self.0.join(format!("..{number}"));
        fs::create_dir(&folder).unwrap();
        write(&folder, "tls.crt", cert);
        write(&folder, "tls.key", key);
        std::os::unix::fs::symlink(format!("..{number}"), self.0.join("..next")).unwrap();
        fs::rename(self.0.join("..next"), self.0.join("..data")).unwrap();
    }
}

/// Whether a new connection that trusts `authority` is served.
async fn is_served(plane: &Plane, authority: &Authority) -> bool {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", plane.grpc)).unwrap().tls_config(tls).unwrap();
    endpoint.connect().await.is_ok()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waited = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(crate::plane::LONG, waited).await.is_ok(), "{what}");
}

#[tokio::test]
async fn renewed_certificates_are_taken_without_a_restart_and_half_written_ones_are_not() {
    let (first, second, third) = (Authority::new(), Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let secret = Secret(folder.path().join("secret"));
    fs::create_dir(&secret.0).unwrap();
    let (cert, key) = first.issue("localhost");
    secret.swap(1, &cert, &key);
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), secret.0.join(name)).unwrap();
    }
    let mut settings = settings(folder.path());
    settings.tls_reload = std::time::Duration::from_millis(20);
    settings.tls =
        Some(TlsSettings { cert: secret.0.join("tls.crt"), key: secret.0.join("tls.key"), client_ca: None });
    let plane = Plane::with(settings, folder).await;
    assert!(is_served(&plane, &first).await && !is_served(&plane, &second).await);

    let (cert, key) = second.issue("localhost");
    secret.swap(2, &cert, &key);
    until("the second one is taken", || is_served(&plane, &second)).await;
    assert!(!is_served(&plane, &first).await);

    // Half a certificate, a key that is of another one, nothing at all: what is in force stays, and it is said.
    let (cert, key) = third.issue("localhost");
    for (number, bad_cert, bad_key) in
        [(3, &cert[..cert.len() / 2], &*key), (4, &*cert, &*second.issue("localhost").1), (5, "", "")]
    {
        secret.swap(number, bad_cert, bad_key);
        until("it is said", async || plane.get("/readyz").await.1.contains("tls: can't use")).await;
        assert!(is_served(&plane, &second).await, "{number}");
        assert!(!is_served(&plane, &third).await, "{number}");
    }
    secret.swap(6, &cert, &key);
    until("the third one is taken", || is_served(&plane, &third)).await;
    let metrics = plane.get("/metrics").await.1;
    assert!(metrics.contains(r#"tls_reloads_total{result="accepted"} 2"#), "{metrics}");
    assert!(plane.get("/readyz").await.1.contains(r#""status":"ok""#));
    plane.stop().await;
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.tls = Some(TlsSettings {
        cert: folder.path().join("missing.pem"),
        key: folder.path().join("missing.key"),
        client_ca: None,
    });
    let error = ControlPlane::start(settings.clone()).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Certificate { path, .. } if path.ends_with("missing.pem")),
        "{error}"
    );
    settings.tls = Some(TlsSettings {
        cert: write(folder.path(), "cert.pem", "no certificate"),
        key: write(folder.path(), "key.pem", "no key"),
        client_ca: None,
    });
    assert!(matches!(ControlPlane::start(settings).await, Err(StartError::Certificate { .. })));
}
