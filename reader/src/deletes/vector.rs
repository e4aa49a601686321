//! Deletion vectors: blobs in Puffin files. A manifest entry says where in the file the blob is, so that the Puffin footer
//! is not read.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_table::spec::DataFile;
use frazil_table::{DELETION_VECTOR_BYTES_MAX, decode_deletion_vector};
use roaring::RoaringTreemap;

use crate::stats::ByteKind;
use crate::{Error, ReadContext, Result};

pub(super) async fn load(context: &ReadContext, file: &DataFile) -> Result<HashMap<String, Arc<RoaringTreemap>>> {
    let location = file.file_path();
    let data_file = file.referenced_data_file();
    let place = file.content_offset().zip(file.content_size_in_bytes());
    let (Some(data_file), Some((offset, size))) = (data_file, place) else {
        return Err(Error::damaged(location, "a deletion vector without data file, offset or size"));
    };
    let (offset, size) = match (u64::try_from(offset), u64::try_from(size)) {
        (Ok(offset), Ok(size)) if size <= DELETION_VECTOR_BYTES_MAX && offset.checked_add(size).is_some() => {
            (offset, size)
        }
        _ => return Err(Error::damaged(location, format!("a deletion vector of {size} bytes at {offset}"))),
    };
    let blob = context.env.store.read_range(location, offset..offset + size).await?;
    context.counters.fetched(ByteKind::Delete, blob.len() as u64, 0, 1);
    let positions = decode_deletion_vector(&blob).map_err(|reason| {
        Error::damaged(location, format!("the deletion vector of {data_file} at byte {offset}: {reason}"))
    })?;
    if positions.len() != file.record_count() {
        let reason = format!(
            "the deletion vector of {data_file} holds {} positions, the table says {}",
            positions.len(),
            file.record_count()
        );
        return Err(Error::damaged(location, reason));
    }
    Ok(HashMap::from([(data_file, Arc::new(positions))]))
}
