//! A TLS handshake with a peer, for its certificate: who vouches for it, and until when.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct Peer {
    /// `host:port`.
    pub address: String,
    /// The name that the certificate must carry.
    pub name: String,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// For the whole handshake.
    pub timeout: Duration,
}

/// What the peer showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `TLSv1_3`
    pub protocol: String,
    /// Until when its chain holds; the reason when it does not hold now.
    pub valid_until: Result<Timestamp, String>,
}

/// Why nothing was shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Our own words are wrong: the name, the certificate file.
    #[error("{0}")]
    Settings(String),
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// A connection that speaks no TLS that we accept.
    #[error("{0}")]
    Handshake(String),
}

/// Longest validity that is looked for: certificates for the public are valid for far less.
const LONGEST: u64 = 20 * 366 * 86_400;

/// Shakes hands and examines the certificate; nothing else is sent.
pub async fn look(peer: &Peer) -> Result<Shown, TlsError> {
    let name = ServerName::try_from(peer.name.clone())
        .map_err(|_| TlsError::Settings(format!("`{}` is no host name", peer.name)))?;
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(roots(peer)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| TlsError::Settings(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Settings(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    let meet = async {
        let stream = TcpStream::connect(&peer.address)
            .await
            .map_err(|error| TlsError::Connect(format!("{}: {error}", peer.address)))?;
        TlsConnector::from(Arc::new(config))
            .connect(name.clone(), stream)
            .await
            .map_err(|error| TlsError::Handshake(format!("{}: {error}", peer.address)))
    };
    let stream = tokio::time::timeout(peer.timeout, meet).await.map_err(|_| {
        TlsError::Connect(format!("{}: no answer within {}", peer.address, crate::base::Span(peer.timeout)))
    })??;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let protocol = session.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
    Ok(Shown { protocol, valid_until: valid_until(chain, &name, &verifier) })
}

fn roots(peer: &Peer) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match &peer.ca_file {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            let cannot = |error: &dyn std::fmt::Display| {
                TlsError::Settings(format!("the certificates in {} cannot be read: {error}", file.display()))
            };
            let read = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| cannot(&error))?;
            roots.add_parsable_certificates(read);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Settings("no certificate authority to trust was found".to_owned()));
    }
    Ok(roots)
}

/// The last second at which the whole chain holds, found by asking the verifier about later and later times: so that what
/// is said is what a client would do, whichever certificate of the chain ends first.
fn valid_until(
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    verifier: &WebPkiServerVerifier,
) -> Result<Timestamp, String> {
    let (first, rest) = chain.split_first().ok_or("the peer showed no certificate")?;
    let holds = |at: u64| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        verifier.verify_server_cert(first, rest, name, &[], at).map(drop)
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    holds(now).map_err(|error| error.to_string())?;
    let (mut good, mut bad) = (now, now + LONGEST);
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if holds(middle).is_ok() { good = middle } else { bad = middle }
    }
    Timestamp::from_second(good as i64).map_err(|error| error.to_string())
}

/// Encrypts without asking who the other side is: here so that the chain can be examined after the handshake, and for
/// libpq's modes that do not verify.
#[derive(Debug)]
pub(in crate::world) struct Unverified(pub Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
