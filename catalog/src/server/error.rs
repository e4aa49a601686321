//! Errors as the protocol spells them: `{"error": {message, type, code}}`, whatever refused the request.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use frazil_table::Conflict;

use crate::Error;
use crate::wire::{ErrorBody, ErrorModel};

/// A request that was not answered with what it asked for. As an answer it is the protocol's envelope.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    /// `kind` is the name of an exception in the protocol's words; `message` is for a person.
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// 400: the request has to be fixed.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    /// The envelope's content: `{"error": {message, type, code}}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"error": {"message": self.message, "type": self.kind, "code": self.status.as_u16()}})
    }

    pub(crate) fn conflict(conflict: &Conflict) -> Self {
        Self::new(StatusCode::CONFLICT, "CommitFailedException", format!("Commit failed: {conflict}"))
    }

    /// A commit that may be in the table or not. A client has to look (Iceberg REST, `updateTable`, 500).
    pub(crate) fn unknown(reason: &str) -> Self {
        let message = format!("it is not known whether the commit is in the table: {reason}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "CommitStateUnknownException", message)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, kind) = match &error {
            Error::NoSuchNamespace(_) => (StatusCode::NOT_FOUND, "NoSuchNamespaceException"),
            Error::NoSuchTable(_) => (StatusCode::NOT_FOUND, "NoSuchTableException"),
            Error::NoSuchConsumer(_) => (StatusCode::NOT_FOUND, "NoSuchConsumerException"),
            Error::ConsumerFenced(_) => (StatusCode::CONFLICT, "ConsumerFencedException"),
            Error::NamespaceExists(_) | Error::TableExists(_) => (StatusCode::CONFLICT, "AlreadyExistsException"),
            Error::NamespaceNotEmpty(_) => (StatusCode::CONFLICT, "NamespaceNotEmptyException"),
            Error::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequestException"),
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, "ForbiddenException"),
            Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
            Error::Table(error) => return of_table(error),
            Error::Database(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        };
        let message = match &error {
            Error::Database(_) => {
                tracing::error!(%error, "a request failed");
                "the catalog's database failed; its log says why".to_owned()
            }
            error => error.to_string(),
        };
        Self::new(status, kind, message)
    }
}

fn of_table(error: &frazil_table::Error) -> Refusal {
    use frazil_table::Error as Table;
    match error {
        Table::Storage(frazil_storage::Error::NotFound { location }) => {
            Refusal::new(StatusCode::NOT_FOUND, "NotFoundException", format!("{location} does not exist"))
        }
        Table::Damaged { .. } => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "UnprocessableEntityException", error.to_string())
        }
        Table::InvalidChange(_) | Table::Spec { .. } => Refusal::bad_request(error.to_string()),
        error => {
            tracing::error!(%error, "a request failed");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", error.to_string())
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, kind, message } = self;
        let body = ErrorBody { error: ErrorModel { message, kind: kind.to_owned(), code: status.as_u16() } };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        let kind = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "PayloadTooLargeException",
            _ => "BadRequestException",
        };
        Self::new(rejection.status(), kind, rejection.body_text())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}
