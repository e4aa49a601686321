//! Clients of S3, GCS and Azure, made of properties.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{ClientOptions, RetryConfig, StaticCredentialProvider};

use crate::config::bad;
use crate::http::NotingConnector;
use crate::object::ObjectBackend;
use crate::{Error, Location, Result, StoreConfig};

/// How long a connection may take. The attempt that it belongs to has a limit of its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Names in one request to delete (S3 `DeleteObjects`; Azure Blob Batch; GCS has none, ten requests go side by side).
const S3_DELETES: usize = 1_000;
const AZURE_DELETES: usize = 256;
const GCS_DELETES: usize = 100;
const GCS_KEY: &str = "gcs.credentials-json";

/// The bucket of an `s3` location.
pub(crate) fn s3(location: &Location, config: &StoreConfig) -> Result<ObjectBackend> {
    let bucket = location.authority();
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(no_retries())
        .with_http_connector(NotingConnector::default());
    let endpoint = config.get("s3.endpoint");
    // An own server rarely has a name for each bucket; the cloud's buckets do.
    let is_path_style = config.flag("s3.path-style-access")?.unwrap_or(endpoint.is_some());
    builder = builder.with_virtual_hosted_style_request(!is_path_style);
    if let Some(endpoint) = endpoint {
        let endpoint = endpoint.trim_end_matches('/');
        builder = builder.with_endpoint(match endpoint.split_once("://") {
            Some((scheme, host)) if !is_path_style => format!("{scheme}://{bucket}.{host}"),
            Some(_) => endpoint.to_owned(),
            None => return Err(bad("s3.endpoint", format!("{endpoint:?} must begin with http:// or https://"))),
        });
    }
    if let Some(region) = config.any(&["s3.region", "client.region"]) {
        builder = builder.with_region(region);
    }
    match (config.get("s3.access-key-id"), config.get("s3.secret-access-key")) {
        (Some(id), Some(secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret),
        (None, None) => {}
        (Some(_), None) => return Err(bad("s3.access-key-id", "it needs s3.secret-access-key beside it")),
        (None, Some(_)) => return Err(bad("s3.secret-access-key", "it needs s3.access-key-id beside it")),
    }
    if let Some(token) = config.get("s3.session-token") {
        builder = builder.with_token(token);
    }
    builder = match (config.get("s3.sse.type"), config.get("s3.sse.key")) {
        (None | Some("none" | "s3"), _) => builder,
        (Some("kms"), Some(key)) => builder.with_sse_kms_encryption(key),
        (Some("custom"), Some(key)) => builder.with_ssec_encryption(key),
        (Some("kms" | "custom"), None) => return Err(bad("s3.sse.type", "it needs s3.sse.key beside it")),
        (Some(other), _) => return Err(bad("s3.sse.type", format!("{other:?} is none of none, s3, kms, custom"))),
    };
    let store = builder.with_client_options(options(endpoint)).build().map_err(|e| unusable(location, &e))?;
    Ok(ObjectBackend::remote(store, S3_DELETES, true))
}

/// The bucket of a `gs` location.
pub(crate) fn gcs(location: &Location, config: &StoreConfig) -> Result<ObjectBackend> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(location.authority())
        .with_retry(no_retries())
        .with_http_connector(NotingConnector::default());
    let endpoint = config.get("gcs.service.host");
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    if let Some(path) = config.get("gcs.credentials-path") {
        builder = builder.with_application_credentials(path);
    }
    if let Some(json) = config.get(GCS_KEY) {
        builder = builder.with_service_account_key(json);
    }
    if let Some(token) = config.get("gcs.oauth2.token") {
        let bearer = token.to_owned();
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer })));
    }
    if config.flag("gcs.no-auth")? == Some(true) {
        // The library sends reads unsigned and asks the machine's role for a token for all else (0.13.2).
        let nobody = GcpCredential { bearer: String::new() };
        builder = builder.with_skip_signature(true).with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    let store = builder.with_client_options(options(endpoint)).build().map_err(|error| match config.get(GCS_KEY) {
        // The library quotes what it can't read.
        Some(_) => bad(GCS_KEY, "it must be a service account's key, the JSON that the cloud gives out"),
        None => unusable(location, &error),
    })?;
    Ok(ObjectBackend::remote(store, GCS_DELETES, false))
}

/// The container of an `abfss://container@account.dfs.core.windows.net` location.
pub(crate) fn azure(location: &Location, config: &StoreConfig) -> Result<ObjectBackend> {
    let Some((container, host)) = location.authority().split_once('@') else {
        let reason = "it must name its container and account, as abfss://container@account.dfs.core.windows.net/path";
        return Err(Error::BadLocation { location: location.to_string(), reason: reason.to_owned() });
    };
    let account = host.split('.').next().unwrap_or(host);
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_account(account)
        .with_retry(no_retries())
        .with_http_connector(NotingConnector::default());
    let of_account = |head: &str| config.any(&[&format!("{head}.{host}"), &format!("{head}.{account}"), head]);
    let connection = of_account("adls.connection-string").map(ConnectionString::parse).transpose()?.unwrap_or_default();
    let scheme = config.get("adls.blob-storage-scheme").unwrap_or("https");
    let endpoint = match config.get("adls.blob-storage-authority") {
        Some(authority) => Some(format!("{scheme}://{authority}/{account}")),
        None => connection.endpoint.clone(),
    };
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if let Some(key) = config.any(&["adls.account-key", "adls.auth.shared-key.account.key"]) {
        builder = builder.with_access_key(key);
    } else if let Some(key) = &connection.key {
        builder = builder.with_access_key(key);
    }
    let sas = of_account("adls.sas-token").map(str::to_owned).or(connection.sas);
    if let Some(sas) = sas {
        let pairs = url::form_urlencoded::parse(sas.trim_start_matches('?').as_bytes()).into_owned();
        builder = builder.with_sas_authorization(pairs.collect::<Vec<_>>());
    }
    if let Some(token) = config.get("adls.token") {
        builder = builder.with_bearer_token_authorization(token);
    }
    if let (Some(tenant), Some(id), Some(secret)) =
        (config.get("adls.tenant-id"), config.get("adls.client-id"), config.get("adls.client-secret"))
    {
        builder = builder.with_client_secret_authorization(id, secret, tenant);
    }
    if let Some(host) = config.get("adls.authority-host") {
        builder = builder.with_authority_host(host);
    }
    let options = options(endpoint.as_deref());
    let store = builder.with_client_options(options).build().map_err(|e| unusable(location, &e))?;
    Ok(ObjectBackend::remote(store, AZURE_DELETES, false))
}

/// What is of use in `DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;BlobEndpoint=…`.
#[derive(Debug, Default)]
struct ConnectionString {
    endpoint: Option<String>,
    key: Option<String>,
    sas: Option<String>,
}

impl ConnectionString {
    fn parse(text: &str) -> Result<Self> {
        let mut parsed = Self::default();
        for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(bad("adls.connection-string", "it must be a list of Name=value, separated by semicolons"));
            };
            match key.trim() {
                "BlobEndpoint" => parsed.endpoint = Some(value.trim_end_matches('/').to_owned()),
                "AccountKey" => parsed.key = Some(value.to_owned()),
                "SharedAccessSignature" => parsed.sas = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// Limits of time are the store's own; a secret goes over an open line only to a server that was named so.
fn options(endpoint: Option<&str>) -> ClientOptions {
    let is_open = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_TIMEOUT).with_allow_http(is_open)
}

fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn unusable(location: &Location, error: &object_store::Error) -> Error {
    Error::BadLocation { location: location.root(), reason: format!("its store can't be set up: {error}") }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use crate::{RetryPolicy, Store, StoreConfig};

    /// Nobody listens there.
    const NOBODY: &str = "http://127.0.0.1:1";
    const S3: &str = "s3://b/k";
    const GCS: &str = "gs://b/k";
    const AZURE: &str = "abfss://c@a.dfs.core.windows.net/k";

    /// What is reached at, what is wrong with it, and the properties; all secrets are `hush`.
    type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
    const CASES: [Case; 9] = [
        (
            S3,
            "127.0.0.1:1",
            &[
                ("s3.endpoint", NOBODY),
                ("s3.access-key-id", "hush"),
                ("s3.secret-access-key", "hush"),
                ("s3.session-token", "hush"),
            ],
        ),
        (S3, "s3.secret-access-key: it needs s3.access-key-id", &[("s3.secret-access-key", "hush")]),
        (GCS, "127.0.0.1:1", &[("gcs.service.host", NOBODY), ("gcs.oauth2.token", "hush")]),
        (GCS, "gcs.credentials-json: it must be", &[("gcs.credentials-json", "\"hush\"")]),
        (
            AZURE,
            AZURE,
            &[(
                "adls.connection-string",
                "BlobEndpoint=http://127.0.0.1:1/a;SharedAccessSignature=sv=2020-08-04&sig=hush",
            )],
        ),
        (AZURE, "127.0.0.1:1", &[("adls.blob-storage-authority", "127.0.0.1:1"), ("adls.account-key", "aHVzaA==")]),
        (AZURE, AZURE, &[("adls.blob-storage-authority", "127.0.0.1:1"), ("adls.token", "hush")]),
        (AZURE, "abfss://c@a", &[("adls.account-key", "hush!")]),
        (AZURE, "adls.connection-string: it must be a list", &[("adls.connection-string", "hush")]),
    ];

    #[tokio::test]
    async fn an_error_says_what_is_wrong_without_the_secrets() {
        for (location, wrong, properties) in CASES {
            let store = Store::new().with_retries(RetryPolicy { attempts_max: 1, ..RetryPolicy::default() });
            let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            store.configure(StoreConfig::new(properties).unwrap());
            let listed = match store.list(location).await {
                Ok(listing) => listing.try_collect::<Vec<_>>().await.map(drop),
                Err(error) => Err(error),
            };
            let ended = [listed, store.read(location).await.map(drop), store.put_new(location, "x".into()).await];
            for error in ended.map(Result::unwrap_err) {
                assert!(error.to_string().contains(wrong), "{wrong}: {error}");
                let said = format!("{error} {error:?} {store:?}");
                assert!(!said.contains("hush") && !said.contains("aHVzaA"), "{said}");
            }
        }
    }
}
