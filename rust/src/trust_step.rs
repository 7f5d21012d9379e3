//! A step of [`crate::trust_region`]: the quadratic model of the cost, and where it is least within radius and limits.

use crate::trust_region::{Limits, Linearised, MOST, ROWS, Vector};

/// The quadratic model of the cost in scaled parameters.
pub(crate) struct Model {
    /// Real parameters per scaled one.
    unit: Vector,
    jacobian: [Vector; ROWS],
    gradient: Vector,
    /// What nearby limits add to the diagonal.
    diagonal: Vector,
}

/// A step in real and in scaled parameters, and by how much the cost should fall.
pub(crate) struct Step {
    pub(crate) real: Vector,
    pub(crate) scaled: Vector,
    pub(crate) predicted: f64,
}

impl Model {
    pub(crate) fn new(here: &Linearised, gradient: &Vector, room: &Vector, side: &Vector, norms: &Vector) -> Self {
        let unit: Vector = std::array::from_fn(|k| room[k].sqrt() / norms[k]);
        Self {
            unit,
            jacobian: here.jacobian.map(|row| times(&row, &unit)),
            gradient: times(gradient, &unit),
            diagonal: std::array::from_fn(|k| gradient[k] * side[k] / norms[k]),
        }
    }

    /// Curvature of the model between two directions.
    fn curvature(&self, a: &Vector, b: &Vector) -> f64 {
        let rows: f64 = self.jacobian.iter().map(|row| dot(row, a) * dot(row, b)).sum();
        rows + dot(&times(a, &self.diagonal), b)
    }

    fn value(&self, scaled: &Vector) -> f64 {
        0.5 * self.curvature(scaled, scaled) + dot(&self.gradient, scaled)
    }

    fn step(&self, scaled: Vector) -> Step {
        Step { real: times(&scaled, &self.unit), scaled, predicted: -self.value(&scaled) }
    }

    /// The full step where the limits allow it; else the best of it cut short, reflected, and steepest descent.
    pub(crate) fn choose(&self, x: &Vector, full: Vector, radius: f64, limits: &Limits, stay_inside: f64) -> Step {
        let whole = self.step(full);
        if limits.allow(&add(x, &whole.real)) {
            return whole;
        }
        let (stride, hits) = limits.steps_to(x, &whole.real);
        let to_limit = scaled_by(&full, stride);
        let mut best = self.step(scaled_by(&to_limit, stay_inside));
        let direction: Vector = std::array::from_fn(|k| if hits[k] { -full[k] } else { full[k] });
        if let Some(reflected) = self.reflected(x, &to_limit, &direction, stride, radius, limits, stay_inside)
            && reflected.predicted > best.predicted
        {
            best = reflected;
        }
        let downhill = scaled_by(&self.gradient, -1.0);
        let (to_limit, _) = limits.steps_to(x, &times(&downhill, &self.unit));
        let to_radius = radius / norm(&downhill);
        let most = if to_limit < to_radius { stay_inside * to_limit } else { to_radius };
        let along = self.best_along(&downhill, &[0.0; MOST], 0.0, most);
        let steepest = self.step(scaled_by(&downhill, along));
        if steepest.predicted > best.predicted { steepest } else { best }
    }

    #[allow(clippy::too_many_arguments)]
    fn reflected(
        &self,
        x: &Vector,
        to_limit: &Vector,
        direction: &Vector,
        stride: f64,
        radius: f64,
        limits: &Limits,
        stay_inside: f64,
    ) -> Option<Step> {
        let on_limit = add(x, &times(to_limit, &self.unit));
        let to_radius = steps_to_radius(to_limit, direction, radius)?;
        let (to_next, _) = limits.steps_to(&on_limit, &times(direction, &self.unit));
        let most = to_next.min(to_radius);
        if most <= 0.0 {
            return None;
        }
        let low = (1.0 - stay_inside) * stride / most;
        let high = if most == to_next { stay_inside * to_next } else { to_radius };
        if low > high {
            return None;
        }
        let along = self.best_along(direction, to_limit, low, high);
        Some(self.step(add(to_limit, &scaled_by(direction, along))))
    }

    /// Where between two numbers of steps from a point the model is least.
    fn best_along(&self, direction: &Vector, from: &Vector, low: f64, high: f64) -> f64 {
        let square = 0.5 * self.curvature(direction, direction);
        let slope = dot(&self.gradient, direction) + self.curvature(from, direction);
        let value = |t: f64| t * (square * t + slope);
        let bottom = -0.5 * slope / square;
        let ends = if value(low) <= value(high) { low } else { high };
        if square != 0.0 && bottom > low && bottom < high && value(bottom) < value(ends) { bottom } else { ends }
    }
}

/// Steps along a direction from a point within the radius to the radius.
fn steps_to_radius(from: &Vector, direction: &Vector, radius: f64) -> Option<f64> {
    let (a, b, c) = (dot(direction, direction), dot(from, direction), dot(from, from) - radius * radius);
    if a == 0.0 || c > 0.0 {
        return None;
    }
    let root = (b * b - a * c).sqrt();
    // The form without cancellation.
    Some(if b > 0.0 { -c / (b + root) } else { (root - b) / a })
}

/// Singular values of the model's rows, its right vectors, and the residual along the left ones.
pub(crate) struct Spectrum {
    values: Vector,
    vectors: [Vector; MOST],
    residual: Vector,
}

impl Spectrum {
    /// One-sided Jacobi rotations (Golub & Van Loan, Matrix Computations, section 8.6.3).
    pub(crate) fn new(model: &Model, residual: &[f64; ROWS]) -> Self {
        let mut columns = [[0.0; ROWS + MOST]; MOST];
        let mut vectors = [[0.0; MOST]; MOST];
        for k in 0..MOST {
            for row in 0..ROWS {
                columns[k][row] = model.jacobian[row][k];
            }
            columns[k][ROWS + k] = model.diagonal[k].max(0.0).sqrt();
            vectors[k][k] = 1.0;
        }
        for _ in 0..30 {
            let mut turned = false;
            for i in 0..MOST {
                for j in i + 1..MOST {
                    turned |= rotate(&mut columns, &mut vectors, i, j);
                }
            }
            if !turned {
                break;
            }
        }
        let values: Vector = columns.map(|column| column.iter().map(|v| v * v).sum::<f64>().sqrt());
        let along = |k: usize| columns[k].iter().zip(residual).map(|(a, b)| a * b).sum::<f64>();
        let residual = std::array::from_fn(|k| if values[k] > 0.0 { along(k) / values[k] } else { 0.0 });
        Self { values, vectors, residual }
    }

    /// Step that minimises the model within the radius, to a hundredth of it, and the damping that makes it so.
    pub(crate) fn step(&self, radius: f64, damping: Option<f64>) -> (Vector, f64) {
        let most = self.values.iter().copied().fold(0.0, f64::max);
        // Columns without derivative take no part.
        let used = |k: &usize| self.values[*k] > 0.0;
        let least = (0..MOST).filter(used).map(|k| self.values[k]).fold(f64::INFINITY, f64::min);
        let full_rank = least > f64::EPSILON * (ROWS + MOST) as f64 * most;
        if full_rank {
            let step = self.damped(0.0);
            if norm(&step) <= radius {
                return (step, 0.0);
            }
        }
        let excess = |alpha: f64| {
            let length = norm(&self.damped(alpha));
            let slope: f64 = (0..MOST)
                .filter(used)
                .map(|k| {
                    let product = self.values[k] * self.residual[k];
                    product * product / (self.values[k] * self.values[k] + alpha).powi(3)
                })
                .sum();
            (length - radius, -slope / length)
        };
        let projected: Vector = std::array::from_fn(|k| self.values[k] * self.residual[k]);
        let mut upper = norm(&projected) / radius;
        let mut lower = 0.0;
        if full_rank {
            let (phi, slope) = excess(0.0);
            lower = -phi / slope;
        }
        let middle = |lower: f64, upper: f64| (0.001 * upper).max((lower * upper).sqrt());
        let mut alpha = match damping {
            Some(alpha) if full_rank || alpha != 0.0 => alpha,
            _ => middle(lower, upper),
        };
        for _ in 0..10 {
            if alpha < lower || alpha > upper {
                alpha = middle(lower, upper);
            }
            let (phi, slope) = excess(alpha);
            if phi < 0.0 {
                upper = alpha;
            }
            let ratio = phi / slope;
            lower = f64::max(lower, alpha - ratio);
            alpha -= (phi + radius) * ratio / radius;
            if phi.abs() < 0.01 * radius {
                break;
            }
        }
        let step = self.damped(alpha);
        (scaled_by(&step, radius / norm(&step)), alpha)
    }

    fn damped(&self, alpha: f64) -> Vector {
        let mut step = [0.0; MOST];
        for k in 0..MOST {
            let value = self.values[k];
            if value > 0.0 {
                let along = -value * self.residual[k] / (value * value + alpha);
                step = add(&step, &scaled_by(&self.vectors[k], along));
            }
        }
        step
    }
}

/// Turn two columns until they are orthogonal; tells whether they were not.
fn rotate(columns: &mut [[f64; ROWS + MOST]; MOST], vectors: &mut [Vector; MOST], i: usize, j: usize) -> bool {
    let product = |a: usize, b: usize| columns[a].iter().zip(&columns[b]).map(|(a, b)| a * b).sum::<f64>();
    let (a, b, c) = (product(i, i), product(j, j), product(i, j));
    if c == 0.0 || c.abs() <= 1.0e-15 * (a * b).sqrt() {
        return false;
    }
    let zeta = (b - a) / (2.0 * c);
    let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = cosine * tangent;
    turn(columns, i, j, cosine, sine);
    turn(vectors, i, j, cosine, sine);
    true
}

fn turn<const N: usize>(columns: &mut [[f64; N]; MOST], i: usize, j: usize, cosine: f64, sine: f64) {
    for row in 0..N {
        let (a, b) = (columns[i][row], columns[j][row]);
        columns[i][row] = cosine * a - sine * b;
        columns[j][row] = sine * a + cosine * b;
    }
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn norm(a: &Vector) -> f64 {
    dot(a, a).sqrt()
}

pub(crate) fn add(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|k| a[k] + b[k])
}

fn times(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|k| a[k] * b[k])
}

fn scaled_by(a: &Vector, factor: f64) -> Vector {
    a.map(|v| v * factor)
}
