//! One HTTP request, for checks that look at a service as its users do. Bounded in time and size; follows no redirect
//! unless told; uses no proxy of the environment, so that the way is the one that the runbook names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// What to ask.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET` when empty.
    pub method: String,
    /// `http://` or `https://`.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Option<Vec<u8>>,
    /// For the whole exchange; ten seconds when zero.
    pub timeout: Duration,
    /// At most so many bytes of the answer are kept; 1 MiB when zero.
    pub keep: usize,
    /// Redirects that are followed.
    pub redirects: usize,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200, 404, …
    pub status: u16,
    /// Names in lower case, and values, as far as they are text.
    pub headers: Vec<(String, String)>,
    /// The answer, or its first part.
    pub body: Vec<u8>,
    /// More came than was kept.
    pub truncated: bool,
    /// Until the last byte.
    pub took: Duration,
}

impl Response {
    /// The answer as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    /// A sentence that names the host, without query, user or password.
    pub message: String,
    /// Which sort of trouble it is.
    pub kind: HttpTrouble,
}

/// Sorts of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTrouble {
    /// The request itself is wrong: URL, header, certificate file.
    Settings,
    /// Nothing listens there, or the name or the route is not known.
    Connect,
    /// The other side's certificate or its TLS is not accepted.
    Tls,
    /// No answer in time.
    Timeout,
    /// The exchange broke.
    Broken,
}

/// Asks. Dropping the future closes the connection.
pub async fn ask(request: &Request) -> Result<Response, HttpError> {
    let wrong = |message: String| HttpError { message, kind: HttpTrouble::Settings };
    let url: reqwest::Url = request.url.parse().map_err(|e| wrong(format!("the URL is wrong: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("the URL is wrong: `{}` is neither http nor https", url.scheme())));
    }
    let place = format!(
        "{}://{}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.port().map(|port| format!(":{port}")).unwrap_or_default()
    );
    let limit = if request.timeout.is_zero() { Duration::from_secs(10) } else { request.timeout };
    let redirects = match request.redirects {
        0 => reqwest::redirect::Policy::none(),
        most => reqwest::redirect::Policy::limited(most),
    };
    let secure = url.scheme() == "https" || request.redirects > 0;
    let client = reqwest::Client::builder()
        .timeout(limit)
        .redirect(redirects)
        .no_proxy()
        .tls_backend_preconfigured(tls(request, secure).map_err(wrong)?)
        .build()
        .map_err(|e| wrong(chain(&e)))?;
    let method = if request.method.is_empty() { "GET" } else { &request.method };
    let method = reqwest::Method::from_bytes(method.as_bytes())
        .map_err(|_| wrong(format!("`{method}` is no HTTP method")))?;
    let mut asked = client.request(method, url);
    for (name, value) in &request.headers {
        asked = asked.header(name, value);
    }
    if let Some(body) = &request.body {
        asked = asked.body(body.clone());
    }
    let began = Instant::now();
    let broken = |error: reqwest::Error| HttpError {
        message: format!("{place}: {}", chain(&error.without_url())),
        kind: HttpTrouble::Broken,
    };
    let mut answer = asked.send().await.map_err(|error| sorted(error, &place, limit))?;
    let headers = answer.headers().iter();
    let headers = headers.filter_map(|(n, v)| Some((n.as_str().to_owned(), v.to_str().ok()?.to_owned())));
    let mut response = Response {
        status: answer.status().as_u16(),
        headers: headers.collect(),
        body: Vec::new(),
        truncated: false,
        took: Duration::ZERO,
    };
    let keep = if request.keep == 0 { 1 << 20 } else { request.keep };
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| if error.is_timeout() { sorted(error, &place, limit) } else { broken(error) })?
    {
        let room = keep - response.body.len();
        response.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            response.truncated = true;
            break;
        }
    }
    response.took = began.elapsed();
    Ok(response)
}

/// A URL for evidence: without user, password, query and fragment, where secrets live.
pub fn shown(url: &str) -> String {
    match url.parse::<reqwest::Url>() {
        Ok(mut url) => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        }
        Err(_) => "an address that is no URL".to_owned(),
    }
}

/// The system's certificates are read only when TLS is to be spoken.
fn tls(request: &Request, secure: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if secure {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if let Some(file) = &request.ca_file {
        let read = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("the certificates in {} cannot be read: {error}", file.display()))?;
        if read.is_empty() {
            return Err(format!("no certificate is in {}", file.display()));
        }
        roots.add_parsable_certificates(read);
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn sorted(error: reqwest::Error, place: &str, limit: Duration) -> HttpError {
    if error.is_timeout() {
        let message = format!("{place}: no answer within {}", crate::base::Span(limit));
        return HttpError { message, kind: HttpTrouble::Timeout };
    }
    let kind = match () {
        () if error.is_builder() => HttpTrouble::Settings,
        () if sources(&error).any(|e| e.downcast_ref::<rustls::Error>().is_some()) => HttpTrouble::Tls,
        () if error.is_connect() => HttpTrouble::Connect,
        () => HttpTrouble::Broken,
    };
    HttpError { message: format!("{place}: {}", chain(&error.without_url())), kind }
}

/// The error and its causes; an I/O error's own inner error included, where TLS hides.
fn sources<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let next = |error: &&'a (dyn std::error::Error + 'static)| {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.map(|e| e as &(dyn std::error::Error + 'static)).or_else(|| error.source())
    };
    std::iter::successors(std::error::Error::source(error), next)
}

/// The last cause says most.
fn chain(error: &reqwest::Error) -> String {
    sources(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        assert_eq!(shown("https://u:p@h.example:8448/a?token=x#y"), "https://h.example:8448/a");
        assert_eq!(shown("::"), "an address that is no URL");
    }

    #[tokio::test]
    async fn troubles_are_told_apart() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = mute.local_addr().unwrap().port();
        let request =
            |url: String| Request { url, timeout: Duration::from_millis(300), ..Request::default() };
        let silent = ask(&request(format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
        assert_eq!(silent.kind, HttpTrouble::Timeout, "{silent}");
        // Nobody listens on port 1; one that was closed a moment ago may be somebody else's by now.
        let refused = ask(&request("http://127.0.0.1:1/?token=x".to_owned())).await.unwrap_err();
        assert_eq!(refused.kind, HttpTrouble::Connect, "{refused}");
        assert!(refused.message.contains("refused") && !refused.message.contains("token"), "{refused}");
        assert_eq!(ask(&request("ftp://h/".into())).await.unwrap_err().kind, HttpTrouble::Settings);
        assert_eq!(ask(&request("nonsense".into())).await.unwrap_err().kind, HttpTrouble::Settings);
    }
}
