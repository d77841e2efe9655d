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
