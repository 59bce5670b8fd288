//! TLS as libpq means it: `require` encrypts and verifies only when there is a root certificate, `verify-ca` verifies
//! the chain, `verify-full` the chain and the host's name. Names are looked for in the certificate's subject
//! alternative names only, never in its common name.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls::{SupportedProtocolVersion, version};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::{SslMode, Tls};
use crate::world::tls::Unverified;

/// Makes the connector that the settings ask for. Errors name the file that is wrong.
pub(super) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (tls.mode, &tls.root) {
        (SslMode::VerifyFull, Some(root)) => verifier(root, tls.crl.as_deref(), &provider)?,
        (SslMode::VerifyCa | SslMode::Require, Some(root)) => {
            Arc::new(AnyName(verifier(root, tls.crl.as_deref(), &provider)?))
        }
        _ => Arc::new(Unverified(Arc::clone(&provider))),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls)?)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &tls.client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            private(key)?;
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("the key {} cannot be used: {error}", key.display()))?;
            config.with_client_auth_cert(chain, secret).map_err(|error| {
                format!("the certificate {} cannot be used: {error}", certificate.display())
            })?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn versions(tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let number = |text: &Option<String>, default: u32| match text.as_deref().map(str::to_lowercase).as_deref()
    {
        None => Ok(default),
        Some("tlsv1" | "tlsv1.0") => Ok(10),
        Some("tlsv1.1") => Ok(11),
        Some("tlsv1.2") => Ok(12),
        Some("tlsv1.3") => Ok(13),
        Some(other) => Err(format!("`{other}` is not a TLS version; write TLSv1.2 or TLSv1.3")),
    };
    let (low, high) = (number(&tls.versions.0, 12)?, number(&tls.versions.1, 13)?);
    let all = [(12, &version::TLS12), (13, &version::TLS13)];
    let chosen: Vec<_> = all.into_iter().filter(|(n, _)| (low..=high).contains(n)).map(|(_, v)| v).collect();
    if chosen.is_empty() { Err("only TLS 1.2 and 1.3 are supported".to_owned()) } else { Ok(chosen) }
}

/// libpq's rule: nobody else may read the key; root's may be readable for its group.
fn private(key: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(key)
        .map_err(|error| format!("the key {} cannot be read: {error}", key.display()))?;
    let loose = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & loose != 0 {
        return Err(format!(
            "the key {} was not used: others may access it (mode {:04o}); chmod 0600 it",
            key.display(),
            meta.mode() & 0o7777
        ));
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong =
        |error: &dyn std::fmt::Display| format!("the certificate {} cannot be used: {error}", path.display());
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    if all.is_empty() { Err(wrong(&"it holds none")) } else { Ok(all) }
}

fn verifier(
    root: &Path,
    crl: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    let given = if root == Path::new("system") {
        rustls_native_certs::load_native_certs().certs
    } else {
        certificates(root)?
    };
    let (usable, _) = roots.add_parsable_certificates(given);
    if usable == 0 {
        return Err(format!("{}: no root certificate there can be used", root.display()));
    }
    let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(crl) = crl {
        let wrong = |error: &dyn std::fmt::Display| {
            format!("the revocation list {} cannot be used: {error}", crl.display())
        };
        let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(crl)
            .map_err(|error| wrong(&error))?
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&error))?;
        builder = builder.with_crls(lists).allow_unknown_revocation_status();
    }
    builder.build().map_err(|error| format!("{}: {error}", root.display()))
}

/// `verify-ca`: everything but the name, which is compared after all the rest.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
