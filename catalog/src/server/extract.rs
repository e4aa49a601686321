//! What a handler takes out of a request.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use bytes::Bytes;
use frazil_table::spec::{NamespaceIdent, TableIdent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::error::Refusal;
use crate::sql::SEPARATOR;

/// A JSON body, whatever content type the client gives it.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::bad_request(format!("the body is not what is expected here: {error}")))?;
        Ok(Self(value))
    }
}

/// The namespace in the path.
pub(super) struct InNamespace(pub(super) NamespaceIdent);

impl<S: Send + Sync> FromRequestParts<S> for InNamespace {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Captures {
            namespace: String,
        }
        let Path(Captures { namespace }) = Path::from_request_parts(parts, state).await?;
        Ok(Self(parse_namespace(&namespace)?))
    }
}

/// The table in the path.
pub(super) struct InTable(pub(super) TableIdent);

impl<S: Send + Sync> FromRequestParts<S> for InTable {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Captures {
            namespace: String,
            table: String,
        }
        let Path(Captures { namespace, table }) = Path::from_request_parts(parts, state).await?;
        Ok(Self(TableIdent::new(parse_namespace(&namespace)?, table)))
    }
}

/// The table in a path of Frazil's own interface: levels of its namespace are parted by dots, or as in the Iceberg REST
/// protocol by U+001F, which may end the last one, too.
#[derive(Clone, Debug)]
pub struct ApiTable(pub TableIdent);

impl<S: Send + Sync> FromRequestParts<S> for ApiTable {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Captures {
            namespace: String,
            table: String,
        }
        let Path(Captures { namespace, table }) = Path::from_request_parts(parts, state).await?;
        let namespace = match namespace.contains(SEPARATOR) {
            true => parse_namespace(namespace.strip_suffix(SEPARATOR).unwrap_or(&namespace))?,
            false => parse_namespace(&namespace.replace('.', "\u{1f}"))?,
        };
        Ok(Self(TableIdent::new(namespace, table)))
    }
}

/// The consumer in a path, with its table.
pub(super) struct ApiConsumer {
    pub(super) ident: TableIdent,
    pub(super) name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ApiConsumer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Captures {
            consumer: String,
        }
        let ApiTable(ident) = ApiTable::from_request_parts(parts, state).await?;
        let Path(Captures { consumer }) = Path::from_request_parts(parts, state).await?;
        Ok(Self { ident, name: consumer })
    }
}

/// Levels of a namespace, separated by U+001F.
pub(super) fn parse_namespace(text: &str) -> Result<NamespaceIdent, Refusal> {
    let levels: Vec<String> = text.split(SEPARATOR).map(str::to_owned).collect();
    if levels.iter().any(String::is_empty) {
        return Err(Refusal::bad_request(format!("namespace {text:?} has an empty level")));
    }
    NamespaceIdent::from_vec(levels).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// The request's idempotency key, or a new one: then each sending is a request of its own.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Uuid, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(Uuid::new_v4()) };
    let key = value.to_str().ok().and_then(|text| Uuid::parse_str(text).ok());
    key.ok_or_else(|| Refusal::bad_request("the header Idempotency-Key is no UUID"))
}

/// A page of a listing (Iceberg REST, "Pagination").
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) page_token: Option<String>,
    pub(super) page_size: Option<i64>,
    /// Of namespaces: only children of this one.
    pub(super) parent: Option<String>,
}

/// Entries on a page of a client that asks for pages without saying how large.
const PAGE_SIZE_DEFAULT: usize = 1_000;

impl Page {
    /// The page's part of a sorted listing, and the token of the next page. The token is the last name of the page, so a
    /// listing that changes meanwhile skips nothing and repeats nothing. Without a token everything is one page.
    pub(super) fn cut<T>(
        &self,
        mut items: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), Refusal> {
        let size = match self.page_size {
            None => PAGE_SIZE_DEFAULT,
            Some(size) => match usize::try_from(size) {
                Ok(size) if size > 0 => size,
                _ => return Err(Refusal::bad_request(format!("pageSize is at least 1, not {size}"))),
            },
        };
        let Some(token) = &self.page_token else { return Ok((items, None)) };
        if !token.is_empty() {
            let after = token
                .strip_prefix("after:")
                .ok_or_else(|| Refusal::bad_request("pageToken is none that this catalog gave"))?;
            items.retain(|item| name(item) > after);
        }
        let next = items.len() > size;
        items.truncate(size);
        let token = items.last().filter(|_| next).map(|last| format!("after:{}", name(last)));
        Ok((items, token))
    }
}
