//! A look at a Parquet footer before it is decoded.
//!
//! The decoder trusts the counts in a footer and reserves memory for them: a file of 22 bytes can ask for 200 GB, which
//! ends the process. So the footer's Thrift structure (compact protocol) is walked first, without reserving anything:
//! every string, list and map must be there with as many elements as it claims, nesting is bounded, and the number of
//! children of a schema element is at most the number of schema elements.

/// Structs in structs and lists. Parquet's own footers nest less than ten deep.
const DEPTH_MAX: usize = 64;

/// Groups in groups of the schema: the decoder and we walk it by recursion.
const SCHEMA_DEPTH_MAX: usize = 128;

/// The fields of Thrift's `FileMetaData.schema` and `SchemaElement.num_children` (parquet.thrift).
const SCHEMA_FIELD: i16 = 2;
const NUM_CHILDREN_FIELD: i16 = 5;

/// Checks the bytes of a `FileMetaData`. The error says what is wrong, and where.
pub fn check_footer(bytes: &[u8]) -> Result<(), String> {
    let mut walker = Walker { bytes, at: 0, children: Vec::new() };
    walker.read_struct(0, Place::FileMetaData)?;
    check_schema_tree(&walker.children)
}

/// Checks the bytes of any other structure, such as a page index.
pub(crate) fn check_struct(bytes: &[u8]) -> Result<(), String> {
    Walker { bytes, at: 0, children: Vec::new() }.read_struct(0, Place::Elsewhere)
}

/// What the header of a page says of its size (parquet.thrift, `PageHeader`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PageHeader {
    /// Of the header itself.
    pub header_bytes: usize,
    /// Of the page once it is decompressed.
    pub bytes: i64,
    /// Of the page as it is stored.
    pub stored_bytes: i64,
    /// Of a dictionary page.
    pub dictionary_values: Option<i64>,
}

/// Reads the header of the page that begins there.
pub(crate) fn read_page_header(bytes: &[u8]) -> Result<PageHeader, String> {
    const STRUCT: u8 = 12;
    let mut walker = Walker { bytes, at: 0, children: Vec::new() };
    let (mut header, mut id) = (PageHeader::default(), 0);
    while let Some(kind) = walker.field(&mut id)? {
        match (id, kind) {
            (2, 5) => header.bytes = walker.zig_zag()?,
            (3, 5) => header.stored_bytes = walker.zig_zag()?,
            (7, STRUCT) => header.dictionary_values = Some(walker.dictionary_values()?),
            _ => walker.skip(kind, 0, false)?,
        }
    }
    header.header_bytes = walker.at;
    Ok(header)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    FileMetaData,
    SchemaElement,
    Elsewhere,
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    /// `num_children` of each schema element in order, 0 for leaves.
    children: Vec<u32>,
}

impl Walker<'_> {
    fn read_struct(&mut self, depth: usize, place: Place) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("the footer nests more than {DEPTH_MAX} deep at byte {}", self.at));
        }
        if place == Place::SchemaElement {
            self.children.push(0);
        }
        let mut id = 0_i16;
        while let Some(kind) = self.field(&mut id)? {
            match (place, id, kind) {
                (Place::FileMetaData, SCHEMA_FIELD, 9) => self.read_list(depth, Place::SchemaElement)?,
                (Place::SchemaElement, NUM_CHILDREN_FIELD, 5) => {
                    let count = self.zig_zag()?;
                    let count = u32::try_from(count).map_err(|_| self.wrong("a number of children"))?;
                    *self.children.last_mut().expect("pushed above") = count;
                }
                _ => self.skip(kind, depth, false)?,
            }
        }
        Ok(())
    }

    /// The type of a struct's next field, whose id goes to `id`; `None` at the struct's end.
    fn field(&mut self, id: &mut i16) -> Result<Option<u8>, String> {
        let header = self.byte()?;
        let kind = header & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        *id = match header >> 4 {
            0 => i16::try_from(self.zig_zag()?).map_err(|_| self.wrong("a field id"))?,
            delta => id.checked_add(i16::from(delta)).ok_or_else(|| self.wrong("a field id"))?,
        };
        Ok(Some(kind))
    }

    fn dictionary_values(&mut self) -> Result<i64, String> {
        let (mut values, mut id) = (0, 0);
        while let Some(kind) = self.field(&mut id)? {
            match (id, kind) {
                (1, 5) => values = self.zig_zag()?,
                _ => self.skip(kind, 1, false)?,
            }
        }
        Ok(values)
    }

    fn read_list(&mut self, depth: usize, place: Place) -> Result<(), String> {
        let header = self.byte()?;
        let kind = header & 0x0f;
        let count = match header >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(format!("a list at byte {} claims {count} elements, {left} bytes are left", self.at));
        }
        for _ in 0..count {
            match kind {
                12 => self.read_struct(depth + 1, place)?,
                _ => self.skip(kind, depth + 1, true)?,
            }
        }
        Ok(())
    }

    fn skip(&mut self, kind: u8, depth: usize, in_list: bool) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("the footer nests more than {DEPTH_MAX} deep at byte {}", self.at));
        }
        match kind {
            // A boolean field is in its header; in a list it takes a byte.
            1 | 2 if in_list => self.advance(1),
            1 | 2 => Ok(()),
            3 => self.advance(1),
            4..=6 => self.varint().map(drop),
            7 => self.advance(8),
            8 => {
                let length = self.varint()?;
                self.advance(length)
            }
            9 | 10 => self.read_list(depth + 1, Place::Elsewhere),
            11 => self.skip_map(depth),
            12 => self.read_struct(depth + 1, Place::Elsewhere),
            _ => Err(self.wrong("a type")),
        }
    }

    fn skip_map(&mut self, depth: usize) -> Result<(), String> {
        let count = self.varint()?;
        if count == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        if count > (self.bytes.len() - self.at) as u64 {
            return Err(format!("a map at byte {} claims {count} entries", self.at));
        }
        for _ in 0..count {
            self.skip(kinds >> 4, depth + 1, true)?;
            self.skip(kinds & 0x0f, depth + 1, true)?;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = *self.bytes.get(self.at).ok_or("the footer ends in the middle")?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.wrong("a number"))
    }

    fn zig_zag(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn advance(&mut self, count: u64) -> Result<(), String> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(format!("{count} bytes are claimed at byte {}, {left} are left", self.at));
        }
        self.at += count as usize;
        Ok(())
    }

    fn wrong(&self, what: &str) -> String {
        format!("byte {} of the footer is not {what}", self.at)
    }
}

/// The schema is a tree in depth-first order: each element says how many children follow.
fn check_schema_tree(children: &[u32]) -> Result<(), String> {
    // How many children each open group still waits for.
    let mut open: Vec<u32> = Vec::new();
    for (index, count) in children.iter().enumerate() {
        if *count as usize > children.len() {
            return Err(format!("schema element {index} claims {count} children of {}", children.len()));
        }
        if index > 0 {
            match open.last_mut() {
                Some(waiting) => *waiting -= 1,
                None => return Err(format!("schema element {index} belongs to no group")),
            }
        }
        if *count > 0 {
            open.push(*count);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > SCHEMA_DEPTH_MAX {
            return Err(format!("the schema nests more than {SCHEMA_DEPTH_MAX} deep"));
        }
    }
    match (children.is_empty(), open.is_empty()) {
        (true, _) => Err("there is no schema".to_owned()),
        (false, false) => Err("the schema ends in the middle of a group".to_owned()),
        (false, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
