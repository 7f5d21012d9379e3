//! Neighbouring columns of a row, side by side.

/// Columns that are worked on together.
pub(crate) const LANES: usize = 8;

pub(crate) type Lanes = [f64; LANES];

/// Fill in as many lanes as there is room for.
#[inline(always)]
pub(crate) fn put<T: Copy>(out: &mut [T], lanes: &[T; LANES]) {
    // All but the last columns: a store, where an unknown length takes a call.
    if let Some(all) = out.first_chunk_mut::<LANES>() {
        *all = *lanes;
    } else {
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

/// Neighbouring values from a place on; NaN where there is none.
#[inline(always)]
pub(crate) fn lanes_from(values: &[f32], place: Option<usize>, count: usize) -> Lanes {
    let Some(values) = place.map(|place| &values[place..place + count]) else {
        return [f64::NAN; LANES];
    };
    // All but the last columns: loads of a known length.
    if let Some(all) = values.first_chunk::<LANES>() {
        return all.map(f64::from);
    }
    let mut lanes = [f64::NAN; LANES];
    for (lane, &value) in lanes.iter_mut().zip(values) {
        *lane = f64::from(value);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_columns_are_fewer_than_the_lanes() {
        let values: Vec<f32> = (0..20).map(|k| k as f32).collect();
        assert_eq!(lanes_from(&values, Some(4), LANES), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        let few = lanes_from(&values, Some(17), 3);
        assert!(few[..3] == [17.0, 18.0, 19.0] && few[3..].iter().all(|v| v.is_nan()));
        assert!(lanes_from(&values, None, LANES).iter().all(|v| v.is_nan()));
        let mut out = [0u8; 11];
        put(&mut out[..LANES], &[1; LANES]);
        put(&mut out[LANES..], &[2; LANES]);
        assert_eq!(out, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
    }
}
