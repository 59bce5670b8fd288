//! What can go wrong with a server, in words that name the place and never a password.

use tokio_postgres::error::DbError;

/// Why there is no session. A sentence that names host, port and database, never a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// What went wrong.
    pub message: String,
    /// SQLSTATE, when the server itself refused.
    pub sqlstate: Option<String>,
    /// Which sort of trouble it is.
    pub kind: ConnectTrouble,
}

/// Sorts of trouble, so that a check can tell "it does not serve" from "we could not ask".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectTrouble {
    /// The target's own words are wrong or not supported: conninfo, service file, password file, certificates.
    Settings,
    /// Nothing listens there: refused, or no socket.
    Refused,
    /// The server said no for all clients: starting up, shutting down, out of connections.
    NotServing,
    /// The server does not let us in: password, pg_hba.conf, database or role unknown, missing right.
    Denied,
    /// No answer in time.
    Timeout,
    /// Another server answers than the target names.
    WrongServer,
    /// Name not known, no route, TLS not agreed, connection broken, and the rest.
    Other,
}

impl ConnectError {
    /// An error without an SQLSTATE.
    pub fn new(kind: ConnectTrouble, message: impl Into<String>) -> Self {
        ConnectError { message: message.into(), sqlstate: None, kind }
    }

    /// An error of the target's own words.
    pub fn settings(message: impl Into<String>) -> Self {
        ConnectError::new(ConnectTrouble::Settings, message)
    }
}

/// Why a query gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What went wrong, in the server's words where it has any.
    pub message: String,
    /// SQLSTATE, when the server said one.
    pub sqlstate: Option<String>,
    /// True when the connection is gone, so that nobody knows whether the statement took effect.
    pub lost: bool,
}

impl QueryError {
    /// An error that was found on our side, before or after the server's work.
    pub fn local(message: impl Into<String>) -> Self {
        QueryError { message: message.into(), sqlstate: None, lost: false }
    }

    pub(super) fn of(error: &tokio_postgres::Error, closed: bool) -> Self {
        match error.as_db_error() {
            Some(db) => QueryError {
                message: sentence(db),
                sqlstate: Some(db.code().code().to_owned()),
                lost: matches!(db.severity(), "FATAL" | "PANIC"),
            },
            None => {
                let lost = closed || error.is_closed();
                let cause = deepest(error);
                let message = if lost { format!("the connection was lost: {cause}") } else { cause };
                QueryError { message, sqlstate: None, lost }
            }
        }
    }
}

/// The server's message with its detail and hint, in one line.
pub(super) fn sentence(db: &DbError) -> String {
    let mut text = format!("{}: {}", db.severity(), db.message());
    for more in [db.detail(), db.hint()].into_iter().flatten() {
        text.push_str(" (");
        text.push_str(more.trim_end_matches('.'));
        text.push(')');
    }
    text
}

/// The innermost cause: tokio-postgres says only "error connecting to server" on the outside.
pub(super) fn deepest(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Sorts what tokio-postgres says when there is no connection.
pub(super) fn trouble(error: &tokio_postgres::Error) -> ConnectError {
    use std::io::ErrorKind;
    if let Some(db) = error.as_db_error() {
        let code = db.code().code();
        let kind = match code {
            "57P03" | "57P01" | "57P02" | "53300" => ConnectTrouble::NotServing,
            "3D000" | "42501" => ConnectTrouble::Denied,
            code if code.starts_with("28") => ConnectTrouble::Denied,
            _ => ConnectTrouble::Other,
        };
        return ConnectError { message: sentence(db), sqlstate: Some(code.to_owned()), kind };
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(this) = cause {
        if let Some(io) = this.downcast_ref::<std::io::Error>() {
            let kind = match io.kind() {
                ErrorKind::ConnectionRefused => ConnectTrouble::Refused,
                ErrorKind::TimedOut => ConnectTrouble::Timeout,
                _ => ConnectTrouble::Other,
            };
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return ConnectError::new(ConnectTrouble::Other, tls_sentence(tls));
            }
            return ConnectError::new(kind, io.to_string());
        }
        cause = this.source();
    }
    match deepest(error).as_str() {
        "password missing" => ConnectError::new(
            ConnectTrouble::Denied,
            "the server wants a password, and none is given (PGPASSWORD, or the password file ~/.pgpass)",
        ),
        "server does not support TLS" => ConnectError::new(
            ConnectTrouble::Denied,
            "the server does not support TLS, which sslmode demands",
        ),
        other => ConnectError::new(ConnectTrouble::Other, other),
    }
}

fn tls_sentence(error: &rustls::Error) -> String {
    let help = match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            "; it was not issued by the root certificate given (sslrootcert)"
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(_)) => {
            "; a certificate authority's own certificate cannot serve as a server's: issue one for the server"
        }
        _ => "",
    };
    format!("TLS: {error}{help}")
}
