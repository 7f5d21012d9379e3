//! The triangle of a QR decomposition of thousands of rows, a handful of columns wide.

/// Rows that lie side by side.
pub(crate) const LANES: usize = 8;
pub(crate) type Lanes = [f64; LANES];
/// Most columns: six parameters and the residual.
const SIZE: usize = 7;

/// Lines of lanes that are taken into the triangle together.
pub(crate) const BLOCK: usize = 16;
/// Columns of such lines.
pub(crate) type Block = [[Lanes; BLOCK]; SIZE];
/// Products of a column with others.
type Products = [f64; SIZE];

/// Upper triangle of a QR decomposition that takes in rows block by block, by Householder reflections.
///
/// Source: Golub & Van Loan, Matrix Computations, section 5.2; the rows already taken in are the triangle itself.
pub(crate) struct Triangle {
    /// Number of columns.
    pub(crate) size: usize,
    /// Rows of the triangle.
    pub(crate) values: [[f64; SIZE]; SIZE],
}

impl Triangle {
    /// Nothing taken in yet.
    pub(crate) fn new(size: usize) -> Self {
        Self { size, values: [[0.0; SIZE]; SIZE] }
    }

    /// Take in the first lines of a block of columns, which is used up.
    #[inline(always)]
    pub(crate) fn absorb(&mut self, block: &mut Block, lines: usize) {
        let mut products = first_products(&block[..self.size], lines);
        for j in 0..self.size {
            let mut steps = [0.0; SIZE];
            let (diagonal, square) = (self.values[j][j], products[0]);
            if square != 0.0 {
                let norm = (diagonal * diagonal + square).sqrt();
                let reflected = if diagonal > 0.0 { -norm } else { norm };
                let factor = (reflected - diagonal) / reflected;
                let scale = 1.0 / (diagonal - reflected);
                self.values[j][j] = reflected;
                for k in 1..self.size - j {
                    let row = &mut self.values[j][j + k];
                    let share = factor * (*row + scale * products[k]);
                    *row -= share;
                    steps[k - 1] = share * scale;
                }
            }
            let columns = &mut block[j..self.size];
            products = match columns.len() {
                7 => reflect::<6>(columns, &steps, lines),
                6 => reflect::<5>(columns, &steps, lines),
                5 => reflect::<4>(columns, &steps, lines),
                4 => reflect::<3>(columns, &steps, lines),
                3 => reflect::<2>(columns, &steps, lines),
                2 => reflect::<1>(columns, &steps, lines),
                _ => products,
            };
        }
    }
}

/// Products of the first column with all columns.
#[inline(always)]
fn first_products(columns: &[[Lanes; BLOCK]], lines: usize) -> Products {
    let mut sums = [[0.0; LANES / 2]; SIZE];
    for line in 0..lines.min(BLOCK) {
        let first = columns[0][line];
        for (sums, column) in sums.iter_mut().zip(columns) {
            add_products(sums, &first, &column[line]);
        }
    }
    totals(&sums)
}

/// Move the `OTHERS` columns after the first by steps along it, and give their products with the first of them, which
/// is the next to reflect: in one pass, for it is memory that takes the time.
#[inline(always)]
fn reflect<const OTHERS: usize>(columns: &mut [[Lanes; BLOCK]], steps: &Products, lines: usize) -> Products {
    let mut sums = [[0.0; LANES / 2]; OTHERS];
    if let Some((along, others)) = columns.split_first_mut()
        && let Some(others) = others.first_chunk_mut::<OTHERS>()
    {
        for line in 0..lines.min(BLOCK) {
            let mut first = [0.0; LANES];
            for k in 0..OTHERS {
                let mut moved = others[k][line];
                for lane in 0..LANES {
                    moved[lane] -= steps[k] * along[line][lane];
                }
                others[k][line] = moved;
                if k == 0 {
                    first = moved;
                }
                add_products(&mut sums[k], &first, &moved);
            }
        }
    }
    totals(&sums)
}

/// Half as many sums as lanes: those of all columns stay in registers.
type Sums = [f64; LANES / 2];

#[inline(always)]
fn add_products(sums: &mut Sums, a: &Lanes, b: &Lanes) {
    for lane in 0..LANES / 2 {
        let other = lane + LANES / 2;
        sums[lane] += a[lane] * b[lane] + a[other] * b[other];
    }
}

#[inline(always)]
fn totals(sums: &[Sums]) -> Products {
    let mut totals = [0.0; SIZE];
    for (total, &[a, b, c, d]) in totals.iter_mut().zip(sums) {
        *total = (a + b) + (c + d);
    }
    totals
}
