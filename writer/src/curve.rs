//! Rows along a space-filling curve: those that are near each other in several columns at once come near each other in the order,
//! so that files and row groups are small boxes in all of these columns and not thin slices in one.
//!
//! A value of a column is a coordinate of 64 bits ([`coordinates`]) that keeps the column's order: signed numbers with their sign
//! turned, floats as their total order has them with NaN last, texts and bytes by their first eight. Null is 0, with the least.
//! - *z-order* interleaves the bits of the coordinates, the first column's first (Morton, 1966). It needs no look at the data.
//! - *Hilbert* has no jumps, and so smaller boxes; it goes through a grid of cells, for which each column's coordinates are cut
//!   into [`CELLS`] ranges with about as many rows ([`Cuts`]), however they are distributed (Skilling, "Programming the Hilbert
//!   curve", 2004).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;
use frazil_table::spec::Schema;

use crate::nested::{position, values_at};
use crate::{Error, Result};

/// Columns of a curve at most: with more of them none gets enough bits to tell files apart.
pub const CURVE_COLUMNS_MAX: usize = 8;

/// Bits of a coordinate on the Hilbert curve: ranges of a column are told apart as far as 65,536 of them do.
const CELL_BITS: u32 = 16;

/// Ranges that each column is cut into.
const CELLS: usize = 1 << CELL_BITS;

/// Where a Hilbert curve's columns are cut: for each column the coordinates at which its ranges begin, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts(Arc<[Vec<u64>]>);

impl Cuts {
    /// Cuts by samples of each column's coordinates, in no order. With few of them there are fewer ranges.
    pub fn of_samples(samples: Vec<Vec<u64>>) -> Self {
        let cut = |mut sample: Vec<u64>| {
            sample.sort_unstable();
            let step = sample.len().div_ceil(CELLS).max(1);
            // A value that many rows have takes many ranges: what lies behind it is as far away as there are rows between.
            sample.into_iter().step_by(step).skip(1).collect()
        };
        Self(samples.into_iter().map(cut).collect::<Vec<Vec<u64>>>().into())
    }

    /// The range that a column's coordinate lies in, as a place on the whole axis.
    fn cell(&self, column: usize, coordinate: u64) -> u32 {
        let cuts = &self.0[column];
        let range = cuts.partition_point(|cut| *cut <= coordinate) as u64;
        (range * CELLS as u64 / (cuts.len() as u64 + 1)) as u32
    }
}

/// How rows follow each other on a curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurveKind {
    /// By interleaved bits.
    ZOrder,
    /// By the Hilbert curve through cells.
    Hilbert(Cuts),
}

/// A curve over columns of a table.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    columns: Vec<Vec<usize>>,
    kind: CurveKind,
}

impl Curve {
    /// # Errors
    /// [`Error::Table`] if a column lies in a list or map, or there are none or too many.
    pub fn new(schema: &Schema, field_ids: &[i32], kind: CurveKind) -> Result<Self> {
        let bad = |reason: String| Error::Table(frazil_table::Error::InvalidChange(reason));
        if field_ids.is_empty() || field_ids.len() > CURVE_COLUMNS_MAX {
            return Err(bad(format!("a curve goes through 1 to {CURVE_COLUMNS_MAX} columns, not {}", field_ids.len())));
        }
        let column = |id: &i32| {
            let is_leaf = schema.field_by_id(*id).is_some_and(|field| field.field_type.is_primitive());
            let found = position(schema.as_struct().fields(), *id).filter(|_| is_leaf);
            found.ok_or_else(|| bad(format!("no column outside of lists and maps has id {id} and values to order by")))
        };
        Ok(Self { columns: field_ids.iter().map(column).collect::<Result<_>>()?, kind })
    }

    /// How many bytes a place on the curve has.
    pub fn key_bytes(&self) -> i32 {
        let bits = match self.kind {
            CurveKind::ZOrder => 64,
            CurveKind::Hilbert(_) => CELL_BITS as usize,
        };
        (self.columns.len() * bits / 8) as i32
    }

    /// The place of each row on the curve, as bytes that are ordered as the curve goes.
    pub fn places(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let coordinates = self.coordinates(batch)?;
        let mut bytes = Vec::with_capacity(batch.num_rows() * self.key_bytes() as usize);
        let mut point = vec![0_u64; self.columns.len()];
        let mut cells = vec![0_u32; self.columns.len()];
        for row in 0..batch.num_rows() {
            point.iter_mut().zip(&coordinates).for_each(|(at, column)| *at = column[row]);
            match &self.kind {
                CurveKind::ZOrder => interleave(&point, u64::BITS, &mut bytes),
                CurveKind::Hilbert(cuts) => {
                    for (column, (cell, at)) in cells.iter_mut().zip(&point).enumerate() {
                        *cell = cuts.cell(column, *at);
                    }
                    to_hilbert(&mut cells);
                    point.iter_mut().zip(&cells).for_each(|(at, cell)| *at = u64::from(*cell));
                    interleave(&point, CELL_BITS, &mut bytes);
                }
            }
        }
        let array = FixedSizeBinaryArray::try_new(self.key_bytes(), bytes.into(), None);
        Ok(Arc::new(array.map_err(Error::arrow("placing rows on a curve"))?))
    }

    fn coordinates(&self, batch: &RecordBatch) -> Result<Vec<Vec<u64>>> {
        let column = |path: &Vec<usize>| values_at(batch, path).and_then(|array| coordinates(&array));
        self.columns.iter().map(column).collect::<std::result::Result<_, _>>().map_err(Error::arrow("ordering rows"))
    }
}

/// Gathers samples of the columns of a curve, for [`Cuts`]: of every `step` rows the first. Memory: 8 bytes for each sample and
/// column.
#[derive(Debug)]
pub struct CutSampler {
    curve: Curve,
    step: usize,
    rows: usize,
    samples: Vec<Vec<u64>>,
}

impl CutSampler {
    /// For batches of `schema` that have `rows` rows in all.
    ///
    /// # Errors
    /// As [`RowOrder::Curve`](crate::RowOrder::Curve) has them.
    pub fn new(schema: &Schema, field_ids: &[i32], rows: u64) -> Result<Self> {
        let curve = Curve::new(schema, field_ids, CurveKind::ZOrder)?;
        let step = usize::try_from(rows).unwrap_or(usize::MAX).div_ceil(CELLS).max(1);
        Ok(Self { samples: vec![Vec::new(); curve.columns.len()], curve, step, rows: 0 })
    }

    /// Takes the samples of a batch.
    ///
    /// # Errors
    /// [`Error::Arrow`] if it is no batch of the schema.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let first = (self.step - self.rows % self.step) % self.step;
        for (sample, found) in self.samples.iter_mut().zip(self.curve.coordinates(batch)?) {
            sample.extend(found.into_iter().skip(first).step_by(self.step));
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// The cuts.
    pub fn finish(self) -> Cuts {
        Cuts::of_samples(self.samples)
    }
}

/// The coordinates of an array's values: as unsigned numbers they have the order of the values, as far as 64 bits tell them apart.
///
/// # Errors
/// For types that have no order: lists, maps, structs.
fn coordinates(array: &ArrayRef) -> std::result::Result<Vec<u64>, ArrowError> {
    let signed = |value: i64| value as u64 ^ 1 << 63;
    let mut values: Vec<u64> = match array.data_type() {
        DataType::Boolean => array.as_boolean().values().iter().map(|value| u64::from(value) << 63).collect(),
        DataType::Float32 | DataType::Float64 => {
            let array = cast(array, &DataType::Float64)?;
            array.as_primitive::<Float64Type>().values().iter().map(|value| of_float(*value)).collect()
        }
        DataType::Decimal128(precision, _) => {
            let is_short = *precision <= 18;
            let decimal = |value: &i128| match is_short {
                true => signed(*value as i64),
                // More digits than 64 bits have: rounded, which keeps the order.
                false => of_float(*value as f64),
            };
            array.as_primitive::<Decimal128Type>().values().iter().map(decimal).collect()
        }
        DataType::Utf8 => array.as_string::<i32>().iter().map(|text| prefix(text.unwrap_or("").as_bytes())).collect(),
        DataType::LargeUtf8 => {
            array.as_string::<i64>().iter().map(|text| prefix(text.unwrap_or("").as_bytes())).collect()
        }
        DataType::Binary => array.as_binary::<i32>().iter().map(|bytes| prefix(bytes.unwrap_or(&[]))).collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().map(|bytes| prefix(bytes.unwrap_or(&[]))).collect(),
        DataType::FixedSizeBinary(_) => {
            array.as_fixed_size_binary().iter().map(|bytes| prefix(bytes.unwrap_or(&[]))).collect()
        }
        DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => {
            let array = cast(array, &DataType::Int64)?;
            array.as_primitive::<Int64Type>().values().iter().map(|value| signed(*value)).collect()
        }
        other => return Err(ArrowError::NotYetImplemented(format!("an order of values of type {other}"))),
    };
    if let Some(nulls) = array.logical_nulls() {
        values.iter_mut().zip(nulls.iter()).filter(|(_, is_valid)| !is_valid).for_each(|(value, _)| *value = 0);
    }
    Ok(values)
}

/// The bits of a float, turned so that they are ordered: -∞ … -0.0, 0.0 … ∞, NaN of any kind.
fn of_float(value: f64) -> u64 {
    let bits = if value.is_nan() { f64::NAN.abs().to_bits() } else { value.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(first)
}

/// Appends the lowest `bits` bits of each number, interleaved from the highest on.
fn interleave(point: &[u64], bits: u32, bytes: &mut Vec<u8>) {
    let (mut byte, mut filled) = (0_u8, 0);
    for bit in (0..bits).rev() {
        for at in point {
            byte = byte << 1 | (at >> bit & 1) as u8;
            filled += 1;
            if filled == 8 {
                bytes.push(byte);
                (byte, filled) = (0, 0);
            }
        }
    }
}

/// From axes to the transpose of the Hilbert index: interleaved, its bits are the place on the curve (Skilling's
/// `AxestoTranspose`).
fn to_hilbert(axes: &mut [u32]) {
    const TOP: u32 = 1 << (CELL_BITS - 1);
    let last = axes.len() - 1;
    let mut bit = TOP;
    while bit > 1 {
        let below = bit - 1;
        for index in 0..axes.len() {
            if axes[index] & bit != 0 {
                axes[0] ^= below;
            } else {
                let swap = (axes[0] ^ axes[index]) & below;
                axes[0] ^= swap;
                axes[index] ^= swap;
            }
        }
        bit >>= 1;
    }
    for index in 1..axes.len() {
        axes[index] ^= axes[index - 1];
    }
    let mut turned = 0;
    let mut bit = TOP;
    while bit > 1 {
        if axes[last] & bit != 0 {
            turned ^= bit - 1;
        }
        bit >>= 1;
    }
    axes.iter_mut().for_each(|axis| *axis ^= turned);
}

#[cfg(test)]
mod tests;
