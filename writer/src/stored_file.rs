//! A file beside a table's metadata that a ledger names: what is too long for a snapshot's summary.

use bytes::Bytes;
use frazil_storage::Env;
use frazil_table::{Table, layout};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// A file with the checksum of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StoredFile {
    pub(crate) location: String,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

impl StoredFile {
    /// Writes `bytes` under a name that nobody has used: `frazil-KIND-UUID.json` among the table's metadata.
    pub(crate) async fn store(env: &Env, table: &Table, kind: &str, bytes: Vec<u8>) -> Result<Self> {
        let name = format!("frazil-{kind}-{}.json", env.ids.uuid());
        let location = format!("{}/{name}", layout::metadata_root(table.metadata()));
        let sha256 = hex(&Sha256::digest(&bytes));
        env.store.put_new(&location, bytes.into()).await?;
        Ok(Self { location, sha256 })
    }

    /// The bytes; `owner` is what an error calls the one whose record it is.
    ///
    /// # Errors
    /// [`Error::DamagedLedger`] if they are not what was written.
    pub(crate) async fn load(&self, env: &Env, owner: &str) -> Result<Bytes> {
        let bytes = env.store.read(&self.location).await?;
        match hex(&Sha256::digest(&bytes)) == self.sha256 {
            true => Ok(bytes),
            false => Err(self.damaged(owner)),
        }
    }

    pub(crate) fn damaged(&self, owner: &str) -> Error {
        Error::DamagedLedger { sink: owner.to_owned(), place: self.location.clone() }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
