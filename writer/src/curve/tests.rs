use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Fields, Schema as ArrowSchema};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Values in their order: their coordinates rise with them, and are equal only where 64 bits don't tell them apart.
fn assert_rises(array: ArrayRef, strictly: bool) {
    let found = coordinates(&array).unwrap();
    let is_fine = |pair: &[u64]| if strictly { pair[0] < pair[1] } else { pair[0] <= pair[1] };
    assert!(found.windows(2).all(is_fine), "{:?}: {found:x?}", array.data_type());
}

#[test]
fn coordinates_keep_the_order_of_every_type() {
    assert_rises(Arc::new(BooleanArray::from(vec![Some(false), Some(true)])), true);
    assert_rises(
        Arc::new(Int32Array::from(vec![None, Some(i32::MIN), Some(-1), Some(0), Some(7), Some(i32::MAX)])),
        true,
    );
    assert_rises(Arc::new(Int64Array::from(vec![Some(i64::MIN + 1), Some(-1), Some(0), Some(i64::MAX)])), true);
    assert_rises(Arc::new(Date32Array::from(vec![-1, 0, 19_000])), true);
    assert_rises(Arc::new(TimestampMicrosecondArray::from(vec![-5, 0, 1 << 50]).with_timezone("UTC")), true);
    let floats = [f64::NEG_INFINITY, -2.5, -0.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY, f64::NAN];
    assert_rises(Arc::new(Float64Array::from([&[None], &floats.map(Some)[..]].concat())), true);
    assert_rises(Arc::new(Float32Array::from(floats.map(|value| value as f32).to_vec())), false);
    assert_eq!(of_float(f64::NAN), of_float(-f64::NAN));
    let decimals = |precision| {
        let values = vec![None, Some(-100), Some(-1), Some(0), Some(12_345_678_901)];
        Decimal128Array::from(values).with_precision_and_scale(precision, 2).unwrap()
    };
    assert_rises(Arc::new(decimals(12)), true);
    assert_rises(Arc::new(decimals(30)), true);
    let texts = ["", "a", "a\u{0}b", "aa", "abcdefgh", "abcdefghi", "b", "ü"];
    assert_rises(Arc::new(StringArray::from(texts.to_vec())), false);
    let bytes: Vec<&[u8]> = vec![&[0], &[0, 1], &[255]];
    assert_rises(Arc::new(BinaryArray::from(bytes)), true);
    let uuids = [[0_u8; 16], [1; 16], [255; 16]];
    assert_rises(Arc::new(FixedSizeBinaryArray::try_from_iter(uuids.iter()).unwrap()), true);
    let list = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![1])) as ArrayRef,
    )]);
    coordinates(&(Arc::new(list) as ArrayRef)).unwrap_err();
}

#[test]
fn bits_are_interleaved_from_the_highest_on() {
    let mut bytes = Vec::new();
    interleave(&[0b1011, 0b0010], 4, &mut bytes);
    assert_eq!(bytes, [0b1000_1110]);
    let mut bytes = Vec::new();
    interleave(&[0b11_1111_1111, 0, 0b10_0000_0001, 0], 10, &mut bytes);
    assert_eq!(bytes, [0b1010_1000, 0b1000_1000, 0b1000_1000, 0b1000_1000, 0b1000_1010]);
}

/// Along a Hilbert curve each step goes to a neighbour: one axis changes by one. That is what sets it apart from any other order.
#[test]
fn a_hilbert_curve_has_no_jumps() {
    for (dimensions, side_bits) in [(1, 8), (2, 4), (3, 3), (4, 2), (8, 1)] {
        let side = 1_u32 << side_bits;
        let count = side.pow(dimensions);
        // The upper bits of the axes: the curve of the coarse grid.
        let shift = CELL_BITS - side_bits;
        let mut points: Vec<(Vec<u8>, Vec<u32>)> = (0..count)
            .map(|index| {
                let point: Vec<u32> = (0..dimensions).map(|axis| index / side.pow(axis) % side).collect();
                let mut axes: Vec<u32> = point.iter().map(|at| at << shift).collect();
                to_hilbert(&mut axes);
                let mut place = Vec::new();
                let axes: Vec<u64> = axes.into_iter().map(u64::from).collect();
                interleave(&axes, CELL_BITS, &mut place);
                (place, point)
            })
            .collect();
        points.sort();
        for pair in points.windows(2) {
            let steps: u32 = pair[0].1.iter().zip(&pair[1].1).map(|(a, b)| a.abs_diff(*b)).sum();
            assert_eq!(steps, 1, "{dimensions} dimensions: from {:?} to {:?}", pair[0].1, pair[1].1);
        }
    }
}

#[test]
fn ranges_have_as_many_rows_each_however_they_are_distributed() {
    let mut random = StdRng::seed_from_u64(3);
    let skewed: Vec<u64> = (0..200_000).map(|_| (random.random::<f64>().powi(9) * 1e15) as u64).collect();
    let cuts = Cuts::of_samples(vec![skewed.clone(), vec![5; 10], Vec::new()]);
    let mut quarters = [0; 4];
    skewed.iter().for_each(|value| quarters[cuts.cell(0, *value) as usize * 4 / CELLS] += 1);
    assert!(quarters.iter().all(|rows| (49_000..51_000).contains(rows)), "{quarters:?}");
    assert!(cuts.cell(1, 4) == 0 && cuts.cell(1, 5) > CELLS as u32 / 2, "all rows lie between");
    assert_eq!([cuts.cell(2, 0), cuts.cell(2, u64::MAX)], [0, 0]);
    assert!(cuts.cell(0, u64::MAX) < CELLS as u32);
}

#[test]
fn columns_in_structs_are_ordered_by() {
    let schema: Schema = serde_json::from_str(
        r#"{"type":"struct","fields":[{"id":1,"name":"s","required":false,"type":{"type":"struct","fields":[
            {"id":2,"name":"x","required":false,"type":"int"}]}},
            {"id":3,"name":"l","required":false,"type":{"type":"list","element-id":4,"element":"int","element-required":false}}]}"#,
    )
    .unwrap();
    let curve = Curve::new(&schema, &[2], CurveKind::ZOrder).unwrap();
    let fields = Fields::from(vec![Field::new("x", DataType::Int32, true)]);
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![5, -5, 9]));
    let nulls = vec![true, true, false].into();
    let structs: ArrayRef = Arc::new(StructArray::new(fields.clone(), vec![inner], Some(nulls)));
    let arrow = ArrowSchema::new(vec![Field::new("s", DataType::Struct(fields), true)]);
    let places = curve.places(&RecordBatch::try_new(Arc::new(arrow), vec![structs]).unwrap()).unwrap();
    let places = places.as_fixed_size_binary();
    assert!(places.value(2) < places.value(1) && places.value(1) < places.value(0));
    for ids in [&[1][..], &[4], &[7], &[], &[2; 9]] {
        Curve::new(&schema, ids, CurveKind::ZOrder).unwrap_err();
    }
}
