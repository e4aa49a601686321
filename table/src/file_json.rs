//! A file's entry as text, so that a commit that is prepared can be finished by another process.

use serde::{Deserialize, Serialize};

use crate::spec::{TableMetadata, deserialize_data_file_from_json, serialize_data_file_to_json};
use crate::{Error, Result, TableFile};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileJson {
    partition_spec_id: i32,
    data_file: serde_json::Value,
}

impl TableFile {
    /// The file with its partition, counts and bounds as JSON. `metadata` is of the table that the file was written for.
    ///
    /// # Errors
    /// [`Error::InvalidChange`] if the table lacks the file's partition spec.
    pub fn to_json(&self, metadata: &TableMetadata) -> Result<serde_json::Value> {
        let partition_type = partition_type(metadata, self.partition_spec_id)?;
        let text = serialize_data_file_to_json(self.file.clone(), &partition_type, metadata.format_version())
            .map_err(Error::spec("writing a file as JSON"))?;
        let data_file = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
        let json = FileJson { partition_spec_id: self.partition_spec_id, data_file };
        Ok(serde_json::to_value(json).expect("a number and a JSON value have a JSON form"))
    }

    /// Reads what [`TableFile::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is nothing of the kind, [`Error::InvalidChange`] if the table lacks its partition spec.
    pub fn from_json(json: serde_json::Value, metadata: &TableMetadata) -> Result<Self> {
        let FileJson { partition_spec_id, data_file } = serde_json::from_value(json).map_err(|e| damaged(&e))?;
        let partition_type = partition_type(metadata, partition_spec_id)?;
        let text = data_file.to_string();
        let schema = metadata.current_schema();
        let file = deserialize_data_file_from_json(&text, partition_spec_id, &partition_type, schema)
            .map_err(Error::spec("reading a file from JSON"))?;
        Ok(Self { file, partition_spec_id })
    }
}

fn partition_type(metadata: &TableMetadata, spec_id: i32) -> Result<crate::spec::StructType> {
    let spec = metadata
        .partition_spec_by_id(spec_id)
        .ok_or_else(|| Error::InvalidChange(format!("the table has no partition spec {spec_id}")))?;
    spec.partition_type(metadata.current_schema()).map_err(Error::spec("looking at a partition spec"))
}

fn damaged(error: &serde_json::Error) -> Error {
    Error::damaged("the JSON of a file", error)
}
