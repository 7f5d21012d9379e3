//! The least and the greatest of many values.

/// Lanes of values that are compared at once.
const LANES: usize = 16;

/// Least and greatest value seen; those that are no number do not count.
pub(crate) struct Extent {
    least: [f32; LANES],
    most: [f32; LANES],
}

impl Extent {
    #[inline(always)]
    pub fn new() -> Self {
        Self { least: [f32::INFINITY; LANES], most: [f32::NEG_INFINITY; LANES] }
    }

    #[inline(always)]
    pub fn include(&mut self, values: &[f32]) {
        let (whole, rest) = values.as_chunks::<LANES>();
        for values in whole {
            self.take(values);
        }
        for &value in rest {
            self.take(&[value; LANES]);
        }
    }

    #[inline(always)]
    fn take(&mut self, values: &[f32; LANES]) {
        for lane in 0..LANES {
            let value = values[lane];
            self.least[lane] = if value < self.least[lane] { value } else { self.least[lane] };
            self.most[lane] = if value > self.most[lane] { value } else { self.most[lane] };
        }
    }

    /// Least and greatest; of none infinity and its negative.
    #[inline(always)]
    pub fn limits(&self) -> (f32, f32) {
        let least = self.least.iter().copied().fold(f32::INFINITY, f32::min);
        (least, self.most.iter().copied().fold(f32::NEG_INFINITY, f32::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_does_not_count() {
        for count in [1, 15, 16, 17, 40] {
            let mut values: Vec<f32> = (0..count).map(|k| ((k * 7) % 11) as f32 - 3.0).collect();
            let expected = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
            values.insert(count / 2, f32::NAN);
            let mut extent = Extent::new();
            extent.include(&values);
            assert_eq!(extent.limits(), expected);
        }
        assert_eq!(Extent::new().limits(), (f32::INFINITY, f32::NEG_INFINITY));
    }
}
