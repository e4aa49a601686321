//! Azure Blob Storage by Azurite.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::http::ask;
use super::{BUCKET, Kind, StoreServer, properties, scratch, spawn};
use crate::peers::{Skip, installed};
use crate::process::{free_port, leashed};

const ACCOUNT: &str = "frazil";
/// The version of the service that the signature below is made for.
const VERSION: &str = "2019-12-12";

pub(super) fn start() -> Result<StoreServer, Skip> {
    let folder = installed("azurite")?;
    let (scratch, port) = (scratch("azurite"), free_port());
    let key = b"thirty-two bytes, or any number.".as_slice();
    let encoded = STANDARD.encode(key);
    let mut command = leashed("node");
    command.arg(folder.join("node_modules/azurite/dist/src/blob/main.js"));
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]);
    command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{encoded}")).current_dir(scratch.path());
    let container = format!("/{ACCOUNT}/{BUCKET}?restype=container&{}", shared_access_signature(key));
    let process = spawn(command, scratch.path(), || {
        ask(port, "PUT", &container, "", b"").is_ok_and(|answer| matches!(answer.status(), 201 | 409))
    });
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={encoded};\
         BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    );
    let properties = properties([("adls.connection-string", connection)]);
    let root = format!("abfss://{BUCKET}@{ACCOUNT}.dfs.core.windows.net");
    Ok(StoreServer { process, scratch, root, properties, kind: Kind::Azure })
}

/// Everything is allowed on the account for a long time (Azure Storage, "Create an account SAS").
fn shared_access_signature(key: &[u8]) -> String {
    let (permissions, services, types, expiry) = ("rwdlac", "b", "sco", "2099-01-01T00:00:00Z");
    let text = format!("{ACCOUNT}\n{permissions}\n{services}\n{types}\n\n{expiry}\n\n\n{VERSION}\n");
    let signature = STANDARD.encode(hmac_sha256(key, text.as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let expiry = expiry.replace(':', "%3A");
    format!("sv={VERSION}&ss={services}&srt={types}&sp={permissions}&se={expiry}&sig={signature}")
}

/// RFC 2104, for keys of up to a block.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    assert!(key.len() <= BLOCK);
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}
