//! What a refused request means.

use frazil_table::spec::{NamespaceIdent, TableIdent};
use reqwest::StatusCode;

use crate::Error;

/// What a request is about, for its errors.
pub(super) enum Subject<'a> {
    Catalog,
    Namespace(&'a NamespaceIdent),
    Table(&'a TableIdent),
    /// A table that is to be: a 404 is about the namespace.
    NewTable(&'a TableIdent),
}

impl Subject<'_> {
    pub(super) fn error(&self, uri: &str, status: StatusCode, kind: &str, message: String) -> Error {
        match (status, self) {
            (StatusCode::NOT_FOUND, Self::Namespace(ident)) => Error::NoSuchNamespace(ident.to_string()),
            (StatusCode::NOT_FOUND, Self::Table(ident)) if kind != "NoSuchNamespaceException" => {
                Error::NoSuchTable(ident.to_string())
            }
            (StatusCode::NOT_FOUND, Self::NewTable(ident)) if kind == "NoSuchTableException" => {
                Error::NoSuchTable(ident.to_string())
            }
            (StatusCode::NOT_FOUND, Self::Table(ident) | Self::NewTable(ident))
                if kind == "NoSuchNamespaceException" || kind.is_empty() =>
            {
                Error::NoSuchNamespace(ident.namespace.to_string())
            }
            (StatusCode::CONFLICT, Self::Namespace(ident)) if kind == "NamespaceNotEmptyException" => {
                Error::NamespaceNotEmpty(ident.to_string())
            }
            (StatusCode::CONFLICT, Self::Namespace(ident)) => Error::NamespaceExists(ident.to_string()),
            (StatusCode::CONFLICT, Self::Table(ident) | Self::NewTable(ident)) => Error::TableExists(ident.to_string()),
            (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, _) => Error::Forbidden(message),
            (status, _) if status.is_client_error() => Error::BadRequest(message),
            (status, _) => Error::Unavailable { uri: uri.to_owned(), reason: format!("{status}: {message}") },
        }
    }
}
