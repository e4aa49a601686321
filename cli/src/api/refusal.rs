//! What an error of reading is to an HTTP client.

use axum::http::StatusCode;
use frazil_catalog::server::Refusal;
use frazil_reader::Error;

/// 4xx: the request, or where it begins, has to be another; 5xx: it may be sent again from the last position.
pub(crate) fn of_reader(error: Error) -> Refusal {
    let (status, kind) = match error {
        Error::Catalog(error) => return error.into(),
        Error::UnknownColumn { .. }
        | Error::InvalidPredicate { .. }
        | Error::OtherPosition { .. }
        | Error::NoIdentifier { .. } => (StatusCode::BAD_REQUEST, "BadRequestException"),
        Error::NoSuchSnapshot { .. } => (StatusCode::NOT_FOUND, "NoSuchSnapshotException"),
        Error::SnapshotsExpired { .. } => (StatusCode::GONE, "SnapshotsExpiredException"),
        Error::NotAnAncestor { .. } => (StatusCode::CONFLICT, "NotAnAncestorException"),
        Error::RowLevelChange { .. } => (StatusCode::CONFLICT, "RowLevelChangeException"),
        Error::AmbiguousUpdate { .. } => (StatusCode::CONFLICT, "AmbiguousUpdateException"),
        Error::ColumnsChanged { .. } => (StatusCode::CONFLICT, "ColumnsChangedException"),
        Error::Damaged { .. } | Error::Unsupported { .. } | Error::KeysExceedMemory { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "UnprocessableEntityException")
        }
        Error::Storage(_) | Error::Table(_) | Error::Spill { .. } | Error::Cancelled => {
            tracing::error!(%error, "a table can't be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
        }
    };
    Refusal::new(status, kind, error.to_string())
}

/// The server stops: the client goes on from its last position elsewhere or later.
pub(crate) fn stopping() -> Refusal {
    let message = "the server is stopping; go on from the last position when it is back";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
}
