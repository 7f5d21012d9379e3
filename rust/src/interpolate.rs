//! An image between its pixels, by a quadratic spline in which NaN pixels weigh nothing.

use crate::spline::{mirrored, prefilter_image_into, weights};
use crate::validity::{Validity, weighted};

/// Positions that are interpolated together.
pub const LANES: usize = 8;

/// Least weight of valid pixels at which a position has a value.
const LEAST_WEIGHT: f64 = 0.5;

/// Spline coefficients of an image and of its validity.
pub struct Interpolator<'a> {
    values: &'a [f32],
    validity: Validity,
    shape: (usize, usize),
}

impl<'a> Interpolator<'a> {
    /// Find the coefficients of an image of rows and columns; `values` is room for as many.
    pub fn new(pixels: &[f32], shape: (usize, usize), values: &'a mut [f32]) -> Self {
        let value = |value: f32| if value.is_finite() { value } else { 0.0 };
        prefilter_image_into(pixels, shape.1, value, values);
        let validity = Validity::new(pixels, shape);
        Self { values, validity, shape }
    }

    /// Copy the coefficients around positions within `ys` and `xs` into scratch space.
    ///
    /// Rows that a slanted line of positions runs through lie far apart in memory: fetched one by one when they are
    /// needed, they cost more than the interpolation.
    #[inline(always)]
    pub fn window<'w>(&'w self, ys: (f64, f64), xs: (f64, f64), scratch: &'w mut Scratch) -> Window<'w> {
        let (rows, columns) = self.shape;
        let (rows, columns) = (range(ys, 2, 4, rows), range(xs, 3, LANES + 4, columns));
        scratch.values.clear();
        let near = rows.len() * columns.len() <= Scratch::MOST;
        let mut whole = true;
        if near {
            for row in rows.clone() {
                let line = row * self.shape.1 + columns.start..row * self.shape.1 + columns.end;
                scratch.values.extend_from_slice(&self.values[line]);
            }
            whole = !self.validity.window(rows.clone(), columns.clone(), self.shape.1, &mut scratch.validity);
        }
        Window {
            image: self,
            values: &scratch.values,
            validity: (!whole).then_some(scratch.validity.as_slice()),
            first: (rows.start, columns.start),
            shape: if near { (rows.len(), columns.len()) } else { (0, 0) },
        }
    }

    /// The image at one position.
    fn single(&self, y: f64, x: f64) -> f32 {
        let (rows, columns) = self.shape;
        let inside = |position: f64, size: usize| position >= 0.0 && position <= size as f64 - 1.0;
        if !inside(y, rows) || !inside(x, columns) {
            return f32::NAN;
        }
        let ((row, wy), (column, wx)) = (weights(y), weights(x));
        let ys = [-1, 0, 1].map(|k| mirrored(row as isize + k, rows));
        let xs = [-1, 0, 1].map(|k| mirrored(column as isize + k, columns));
        let weight = self.validity.at(ys, wy, xs, wx, columns);
        let value = || (weighted(self.values, ys, wy, xs, wx, columns) / weight) as f32;
        if weight >= LEAST_WEIGHT { value() } else { f32::NAN }
    }
}

/// Indices of an axis around positions, with room before and after.
#[inline(always)]
fn range((least, most): (f64, f64), before: usize, after: usize, size: usize) -> std::ops::Range<usize> {
    // Casts saturate; what is no number becomes 0.
    let start = (least as usize).saturating_sub(before).min(size);
    let end = (most as usize).saturating_add(after).min(size);
    start..end.max(start)
}

/// Room for the coefficients of a window.
#[derive(Default)]
pub struct Scratch {
    values: Vec<f32>,
    validity: Vec<f64>,
}

impl Scratch {
    /// Coefficients of the largest window that is copied; positions that are more scattered are taken one by one.
    const MOST: usize = 1 << 16;
}

/// Coefficients of part of an image.
pub struct Window<'a> {
    image: &'a Interpolator<'a>,
    values: &'a [f32],
    validity: Option<&'a [f64]>,
    first: (usize, usize),
    shape: (usize, usize),
}

impl Window<'_> {
    /// The image at positions that follow one another along a row; NaN outside the image and on too few valid pixels.
    #[inline(always)]
    pub fn at(&self, ys: &[f64; LANES], xs: &[f64; LANES]) -> [f32; LANES] {
        let (y, x) = (Axis::new(ys, 0.0), Axis::new(xs, 1.0));
        let ((row, last_row), (column, last_column)) = (y.limits(), x.limits());
        // One block of 4 rows and columns must hold every lane's samples; a position that is no number has no limits.
        let near = y.is_known() & x.is_known() & (last_row - row <= 1.0) & (last_column - column <= 1.0);
        let Some(start) = self.place(row, column, (4, LANES + 3)).filter(|_| near) else {
            return self.one_by_one(ys, xs);
        };
        let block = Block { start, width: self.shape.1 };
        // Weights of samples that a lane does not use are 0, so that all of these give the same.
        match (last_row > row, last_column > column) {
            (false, false) => self.block_values(&block, &y.three(), &x.three()),
            (true, false) => self.block_values(&block, &y.four(row), &x.three()),
            (false, true) => self.block_values(&block, &y.three(), &x.four(column)),
            (true, true) => self.block_values(&block, &y.four(row), &x.four(column)),
        }
    }

    /// Where the samples about a middle row and column begin, if the window holds so many rows and columns of them.
    #[inline(always)]
    fn place(&self, row: f64, column: f64, (rows, columns): (usize, usize)) -> Option<usize> {
        let (row, column) = (row - 1.0 - self.first.0 as f64, column - 1.0 - self.first.1 as f64);
        let rows = (row >= 0.0) & (row + rows as f64 <= self.shape.0 as f64);
        let columns = (column >= 0.0) & (column + columns as f64 <= self.shape.1 as f64);
        (rows & columns).then(|| row as usize * self.shape.1 + column as usize)
    }

    #[inline(always)]
    fn block_values<const ROWS: usize, const COLUMNS: usize>(
        &self,
        block: &Block,
        y: &Weights<ROWS>,
        x: &Weights<COLUMNS>,
    ) -> [f32; LANES] {
        let values = block.sum(self.values, y, x);
        let mut out = [0.0; LANES];
        if let Some(validity) = self.validity {
            let weights = block.sum(validity, y, x);
            for lane in 0..LANES {
                let value = (values[lane] / weights[lane]) as f32;
                out[lane] = if weights[lane] >= LEAST_WEIGHT { value } else { f32::NAN };
            }
        } else {
            for lane in 0..LANES {
                out[lane] = values[lane] as f32;
            }
        }
        out
    }

    #[inline(never)]
    fn one_by_one(&self, ys: &[f64; LANES], xs: &[f64; LANES]) -> [f32; LANES] {
        std::array::from_fn(|lane| {
            let ((row, y), (column, x)) = (weights(ys[lane]), weights(xs[lane]));
            // Samples that the window holds are all within the image, and so is what lies between them.
            match self.place(row, column, (3, 3)) {
                Some(start) => self.lane(start, y, x),
                None => self.image.single(ys[lane], xs[lane]),
            }
        })
    }

    /// The image at one position, from where its nine samples begin.
    fn lane(&self, start: usize, y: [f64; 3], x: [f64; 3]) -> f32 {
        let (rows, columns) =
            ([0, 1, 2].map(|k| start / self.shape.1 + k), [0, 1, 2].map(|k| start % self.shape.1 + k));
        let value = weighted(self.values, rows, y, columns, x, self.shape.1);
        let weight = self.validity.map_or(1.0, |validity| weighted(validity, rows, y, columns, x, self.shape.1));
        if weight >= LEAST_WEIGHT { (value / weight) as f32 } else { f32::NAN }
    }
}

/// Weights of some samples, for every lane.
type Weights<const N: usize> = [[f64; LANES]; N];

/// Positions along one axis: the middle one of each lane's three samples, counted from where the lane would have it if
/// every lane moved on by `step`, and the weights of the three.
struct Axis {
    middle: [f64; LANES],
    weights: Weights<3>,
}

impl Axis {
    #[inline(always)]
    fn new(positions: &[f64; LANES], step: f64) -> Self {
        let mut axis = Self { middle: [0.0; LANES], weights: [[0.0; LANES]; 3] };
        for lane in 0..LANES {
            let (middle, [low, centre, high]) = weights(positions[lane]);
            axis.middle[lane] = middle - step * lane as f64;
            axis.weights[0][lane] = low;
            axis.weights[1][lane] = centre;
            axis.weights[2][lane] = high;
        }
        axis
    }

    /// Whether all positions are numbers.
    #[inline(always)]
    fn is_known(&self) -> bool {
        self.middle.iter().fold(true, |known, middle| known & !middle.is_nan())
    }

    /// The least middle and the greatest: halves of the lanes against each other, which vector instructions can do.
    #[inline(always)]
    fn limits(&self) -> (f64, f64) {
        let (mut least, mut most) = (self.middle, self.middle);
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                let (a, b) = (least[lane], least[lane + half]);
                least[lane] = if a < b { a } else { b };
                let (a, b) = (most[lane], most[lane + half]);
                most[lane] = if a > b { a } else { b };
            }
            half /= 2;
        }
        (least[0], most[0])
    }

    #[inline(always)]
    fn three(&self) -> Weights<3> {
        self.weights
    }

    /// Weights that belong to the same four samples for all lanes, the second of which is `first`: a lane begins with
    /// that or with the next one.
    #[inline(always)]
    fn four(&self, first: f64) -> Weights<4> {
        let [low, centre, high] = &self.weights;
        let mut four = [[0.0; LANES]; 4];
        for lane in 0..LANES {
            let on = self.middle[lane] != first;
            four[0][lane] = if on { 0.0 } else { low[lane] };
            four[1][lane] = if on { low[lane] } else { centre[lane] };
            four[2][lane] = if on { centre[lane] } else { high[lane] };
            four[3][lane] = if on { high[lane] } else { 0.0 };
        }
        four
    }
}

/// Samples of all lanes side by side, from the first lane's first one on.
struct Block {
    start: usize,
    width: usize,
}

impl Block {
    /// Weighted sums of the lanes' coefficients.
    #[inline(always)]
    fn sum<const ROWS: usize, const COLUMNS: usize>(
        &self,
        coefficients: &[impl Copy + Into<f64>],
        y: &Weights<ROWS>,
        x: &Weights<COLUMNS>,
    ) -> [f64; LANES] {
        let mut sums = [0.0; LANES];
        for j in 0..ROWS {
            let samples = &coefficients[self.start + j * self.width..][..LANES + COLUMNS - 1];
            let mut line = [0.0; LANES];
            for i in 0..COLUMNS {
                for lane in 0..LANES {
                    line[lane] += x[i][lane] * samples[i + lane].into();
                }
            }
            for lane in 0..LANES {
                sums[lane] += y[j][lane] * line[lane];
            }
        }
        sums
    }
}
