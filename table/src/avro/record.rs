//! Walking over values without keeping them (Avro specification, "Binary Encoding").

use super::schema::Schema;

/// A place in some bytes.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        if count > self.left() {
            return Err(format!("{count} bytes are claimed at byte {}, {} are left", self.at, self.left()));
        }
        let from = self.at;
        self.at += count as usize;
        Ok(&self.bytes[from..self.at])
    }

    fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(format!("byte {} is not a number", self.at))
    }

    /// A number that is not negative.
    pub(super) fn count(&mut self) -> Result<u64, String> {
        let number = self.long()?;
        u64::try_from(number).map_err(|_| format!("{number} at byte {} is no count", self.at))
    }

    /// A string, or bytes.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], String> {
        let length = self.count()?;
        self.take(length)
    }

    /// How many elements a block of an array or a map has; 0 ends it. A negative count is followed by the block's size.
    /// Every element of what Iceberg writes takes a byte.
    pub(super) fn sequence_count(&mut self) -> Result<u64, String> {
        let number = self.long()?;
        if number < 0 {
            self.count()?;
        }
        let count = number.unsigned_abs();
        match count > self.left() {
            true => Err(format!("{count} elements are claimed at byte {}, {} bytes are left", self.at, self.left())),
            false => Ok(count),
        }
    }

    /// Goes over a value. Counts it, and those in it, down from `values_left`.
    pub(super) fn skip(&mut self, schema: &Schema, values_left: &mut u64) -> Result<(), String> {
        *values_left = values_left
            .checked_sub(1)
            .ok_or_else(|| format!("more values than a file of this size holds, at byte {}", self.at))?;
        match schema {
            Schema::Null => Ok(()),
            Schema::Boolean => self.take(1).map(drop),
            Schema::Number => self.long().map(drop),
            Schema::Sized => self.sized().map(drop),
            Schema::Fixed(size) => self.take(*size).map(drop),
            Schema::Union(branches) => {
                let index = self.long()?;
                let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
                let branch = branch.ok_or_else(|| format!("byte {}: a union has no branch {index}", self.at))?;
                self.skip(branch, values_left)
            }
            Schema::Record(fields) => fields.iter().try_for_each(|field| self.skip(field, values_left)),
            Schema::Array(element) => self.skip_sequence(false, element, values_left),
            Schema::Map(value) => self.skip_sequence(true, value, values_left),
        }
    }

    fn skip_sequence(&mut self, has_keys: bool, element: &Schema, values_left: &mut u64) -> Result<(), String> {
        loop {
            let count = self.sequence_count()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                if has_keys {
                    self.sized()?;
                }
                self.skip(element, values_left)?;
            }
        }
    }
}
