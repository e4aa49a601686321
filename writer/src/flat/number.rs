//! The numbers that columns have, as Parquet stores them.

use parquet::file::statistics::{Statistics, ValueStatistics};

// Plain values are little-endian (Parquet format, "Plain"), and so are those in memory.
const _: () = assert!(cfg!(target_endian = "little"), "numbers are written as they lie in memory");

/// A number of a physical type.
pub(super) trait Number: Copy + PartialOrd {
    /// What tells it from others.
    fn bits(self) -> u64;

    /// An unscaled decimal that has this physical type for its precision.
    fn narrow(unscaled: i128) -> Self;

    /// Whether bounds pass over it.
    fn is_nan(self) -> bool {
        false
    }

    /// Bounds, so that one zero does not hide the other (Parquet format, "Column Orders").
    fn widen(bounds: (Self, Self)) -> (Self, Self) {
        bounds
    }

    /// A column chunk's statistics.
    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics;
}

macro_rules! statistics {
    ($variant:ident) => {
        fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
            let (min, max) = bounds.unzip();
            let statistics = ValueStatistics::new(min, max, None, Some(nulls), false);
            Statistics::$variant(statistics.with_backwards_compatible_min_max(true))
        }
    };
}

impl Number for i32 {
    fn narrow(unscaled: i128) -> Self {
        unscaled as i32
    }

    fn bits(self) -> u64 {
        u64::from(self as u32)
    }

    statistics!(Int32);
}

impl Number for i64 {
    fn narrow(unscaled: i128) -> Self {
        unscaled as i64
    }

    fn bits(self) -> u64 {
        self as u64
    }

    statistics!(Int64);
}

impl Number for f32 {
    fn narrow(unscaled: i128) -> Self {
        unscaled as f32
    }

    fn bits(self) -> u64 {
        self.to_bits().into()
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn widen((min, max): (Self, Self)) -> (Self, Self) {
        (if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max })
    }

    statistics!(Float);
}

impl Number for f64 {
    fn narrow(unscaled: i128) -> Self {
        unscaled as f64
    }

    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn widen((min, max): (Self, Self)) -> (Self, Self) {
        (if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max })
    }

    statistics!(Double);
}

/// The least and the greatest of numbers.
pub(super) fn bounds_of<T: Number>(values: &[T]) -> Option<(T, T)> {
    let first = *values.iter().find(|value| !value.is_nan())?;
    // A comparison with NaN is false.
    let (mut min, mut max) = (first, first);
    for value in values {
        min = if *value < min { *value } else { min };
        max = if *value > max { *value } else { max };
    }
    Some(T::widen((min, max)))
}

/// What holds for both.
pub(super) fn join<T: Number>(a: Option<(T, T)>, b: Option<(T, T)>) -> Option<(T, T)> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    Some((if b.0 < a.0 { b.0 } else { a.0 }, if b.1 > a.1 { b.1 } else { a.1 }))
}
