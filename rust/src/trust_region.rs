//! Bounded nonlinear least squares by a trust region that reflects from the bounds.
//!
//! Sources: Branch, Coleman & Li 1999, SIAM J. Sci. Comput. 21, 1 (scaling by the distance to the bounds, reflected
//! steps); More 1978, Numerical Analysis, LNM 630, 105 (the step on the trust region). Constants are those with which
//! SciPy's `least_squares` runs the method "trf": from the same start both find the same minimum.

/// Most parameters a problem has.
pub const MOST: usize = 6;
/// Rows of a reduced problem: a triangle of Jacobian and residual.
const ROWS: usize = MOST + 1;

type Vector = [f64; MOST];

/// Jacobian and residual of a problem, reduced to as many rows as make a triangle; unused rows and columns are 0.
#[derive(Debug, Clone, Copy)]
pub struct Linearised {
    /// Derivatives of the residual, rows by parameters.
    pub jacobian: [Vector; ROWS],
    /// Residual.
    pub residual: [f64; ROWS],
}

impl Linearised {
    fn cost(&self) -> f64 {
        0.5 * self.residual.iter().map(|f| f * f).sum::<f64>()
    }

    fn gradient(&self) -> Vector {
        std::array::from_fn(|k| self.jacobian.iter().zip(&self.residual).map(|(row, f)| row[k] * f).sum())
    }

    fn column_norm(&self, k: usize) -> f64 {
        self.jacobian.iter().map(|row| row[k] * row[k]).sum::<f64>().sqrt()
    }
}

/// Where a fit ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Parameters.
    pub values: Vector,
    /// Evaluations of the problem.
    pub evaluations: usize,
    /// Whether cost, step or gradient fell below the tolerance.
    pub converged: bool,
}

/// Least and greatest values of the parameters; infinite for none.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Least values.
    pub low: Vector,
    /// Greatest values.
    pub high: Vector,
}

/// Minimise half the sum of squared residuals from a start within the limits.
///
/// Parameters whose column of the Jacobian is 0 stay where they are. Stops where the cost falls, or the parameters move,
/// by less than the share `tolerance`, where the scaled gradient is below it, or after `most` evaluations.
pub fn minimise(
    problem: impl Fn(&Vector) -> Linearised,
    start: &Vector,
    limits: &Limits,
    tolerance: f64,
    most: usize,
) -> Found {
    let mut x = limits.inside(start, 1.0e-10);
    let mut here = problem(&x);
    let mut evaluations = 1;
    let end = |values, evaluations, converged| Found { values, evaluations, converged };
    if !here.cost().is_finite() {
        return end(x, evaluations, false);
    }
    let mut norms: Vector = std::array::from_fn(|k| here.column_norm(k));
    norms.iter_mut().filter(|norm| **norm == 0.0).for_each(|norm| *norm = 1.0);
    let mut radius = first_radius(&x, &here.gradient(), limits, &norms);
    let mut damping = None;
    while evaluations < most {
        let gradient = here.gradient();
        let (mut room, side) = limits.room(&x, &gradient);
        let gradient_norm = (0..MOST).map(|k| (gradient[k] * room[k]).abs()).fold(0.0, f64::max);
        if gradient_norm < tolerance {
            return end(x, evaluations, true);
        }
        for k in 0..MOST {
            room[k] *= if side[k] == 0.0 { 1.0 } else { norms[k] };
        }
        let model = Model::new(&here, &gradient, &room, &side, &norms);
        let spectrum = Spectrum::new(&model, &here.residual);
        let stay_inside = f64::max(0.995, 1.0 - gradient_norm);
        loop {
            let (full, alpha) = spectrum.step(radius, damping);
            let step = model.choose(&x, full, radius, limits, stay_inside);
            let next = limits.inside(&add(&x, &step.real), 0.0);
            let there = problem(&next);
            evaluations += 1;
            let length = norm(&step.scaled);
            if !there.cost().is_finite() {
                radius = 0.25 * length;
                if evaluations >= most || radius == 0.0 {
                    return end(x, evaluations, false);
                }
                continue;
            }
            let fall = here.cost() - there.cost();
            let (wider, ratio) = adapted(radius, fall, step.predicted, length);
            let converged = (fall < tolerance * here.cost() && ratio > 0.25)
                || norm(&step.real) < tolerance * (tolerance + norm(&x));
            damping = Some(alpha * radius / wider);
            radius = wider;
            if fall > 0.0 {
                (x, here) = (next, there);
                for k in 0..MOST {
                    norms[k] = norms[k].max(here.column_norm(k));
                }
            }
            if converged {
                return end(x, evaluations, true);
            }
            if fall > 0.0 || evaluations >= most {
                break;
            }
        }
    }
    end(x, evaluations, false)
}

fn first_radius(x: &Vector, gradient: &Vector, limits: &Limits, norms: &Vector) -> f64 {
    let (room, side) = limits.room(x, gradient);
    let scaled = std::array::from_fn(|k| {
        let room = if side[k] == 0.0 { 1.0 } else { room[k] * norms[k] };
        x[k] * norms[k] / room.sqrt()
    });
    let radius = norm(&scaled);
    if radius == 0.0 { 1.0 } else { radius }
}

/// The next radius, and the share of the predicted fall that came true.
fn adapted(radius: f64, fall: f64, predicted: f64, length: f64) -> (f64, f64) {
    let ratio = if predicted > 0.0 {
        fall / predicted
    } else if predicted == 0.0 && fall == 0.0 {
        1.0
    } else {
        0.0
    };
    let next = if ratio < 0.25 {
        0.25 * length
    } else if ratio > 0.75 && length > 0.95 * radius {
        2.0 * radius
    } else {
        radius
    };
    (next, ratio)
}

impl Limits {
    fn allow(&self, x: &Vector) -> bool {
        (0..MOST).all(|k| x[k] >= self.low[k] && x[k] <= self.high[k])
    }

    /// The point strictly within the limits, off them by at least the share `margin`.
    fn inside(&self, x: &Vector, margin: f64) -> Vector {
        std::array::from_fn(|k| {
            let (low, high) = (self.low[k], self.high[k]);
            let least = if margin > 0.0 { low + margin * low.abs().max(1.0) } else { low.next_up() };
            let most = if margin > 0.0 { high - margin * high.abs().max(1.0) } else { high.next_down() };
            if least > most {
                return 0.5 * (low + high);
            }
            let reached = if low.is_finite() && x[k] <= low { least } else { x[k] };
            if high.is_finite() && reached >= high { most } else { reached }
        })
    }

    /// Distance to the limit towards which the cost falls (1 for none), and that limit's side: -1 high, 1 low, 0 none.
    fn room(&self, x: &Vector, gradient: &Vector) -> (Vector, Vector) {
        let (mut room, mut side) = ([1.0; MOST], [0.0; MOST]);
        for k in 0..MOST {
            if gradient[k] < 0.0 && self.high[k].is_finite() {
                (room[k], side[k]) = (self.high[k] - x[k], -1.0);
            } else if gradient[k] > 0.0 && self.low[k].is_finite() {
                (room[k], side[k]) = (x[k] - self.low[k], 1.0);
            }
        }
        (room, side)
    }

    /// How many steps lead to the nearest limit, and which parameters it is the limit of.
    fn steps_to(&self, x: &Vector, step: &Vector) -> (f64, [bool; MOST]) {
        let steps: Vector = std::array::from_fn(|k| {
            if step[k] == 0.0 {
                return f64::INFINITY;
            }
            ((self.low[k] - x[k]) / step[k]).max((self.high[k] - x[k]) / step[k])
        });
        let least = steps.iter().copied().fold(f64::INFINITY, f64::min);
        (least, std::array::from_fn(|k| steps[k] == least && step[k] != 0.0))
    }
}

/// The quadratic model of the cost in scaled parameters.
struct Model {
    /// Real parameters per scaled one.
    unit: Vector,
    jacobian: [Vector; ROWS],
    gradient: Vector,
    /// What nearby limits add to the diagonal.
    diagonal: Vector,
}

/// A step in real and in scaled parameters, and by how much the cost should fall.
struct Step {
    real: Vector,
    scaled: Vector,
    predicted: f64,
}

impl Model {
    fn new(here: &Linearised, gradient: &Vector, room: &Vector, side: &Vector, norms: &Vector) -> Self {
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
    fn choose(&self, x: &Vector, full: Vector, radius: f64, limits: &Limits, stay_inside: f64) -> Step {
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
struct Spectrum {
    values: Vector,
    vectors: [Vector; MOST],
    residual: Vector,
}

impl Spectrum {
    /// One-sided Jacobi rotations (Golub & Van Loan, Matrix Computations, section 8.6.3).
    fn new(model: &Model, residual: &[f64; ROWS]) -> Self {
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
    fn step(&self, radius: f64, damping: Option<f64>) -> (Vector, f64) {
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

fn norm(a: &Vector) -> f64 {
    dot(a, a).sqrt()
}

fn add(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|k| a[k] + b[k])
}

fn times(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|k| a[k] * b[k])
}

fn scaled_by(a: &Vector, factor: f64) -> Vector {
    a.map(|v| v * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Limits = Limits { low: [f64::NEG_INFINITY; MOST], high: [f64::INFINITY; MOST] };

    /// Rosenbrock's valley in the first two parameters.
    fn rosenbrock(x: &Vector) -> Linearised {
        let mut here = Linearised { jacobian: [[0.0; MOST]; ROWS], residual: [0.0; ROWS] };
        (here.residual[0], here.residual[1]) = (10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]);
        (here.jacobian[0][0], here.jacobian[0][1], here.jacobian[1][0]) = (-20.0 * x[0], 10.0, -1.0);
        here
    }

    #[test]
    fn the_valleys_end_is_found() {
        let found = minimise(rosenbrock, &[-1.2, 1.0, 0.0, 0.0, 0.0, 7.0], &FREE, 1e-12, 400);
        assert!(found.converged);
        assert!((found.values[0] - 1.0).abs() < 1e-9 && (found.values[1] - 1.0).abs() < 1e-9, "{found:?}");
        assert_eq!(found.values[5], 7.0);
    }

    #[test]
    fn limits_hold() {
        let mut limits = FREE;
        limits.high[0] = 0.5;
        let found = minimise(rosenbrock, &[-1.2, 1.0, 0.0, 0.0, 0.0, 0.0], &limits, 1e-12, 400);
        assert!(found.values[0] <= 0.5 && (found.values[0] - 0.5).abs() < 1e-4, "{found:?}");
        assert!((found.values[1] - 0.25).abs() < 1e-3, "{found:?}");
        limits.low[0] = 0.2;
        let found = minimise(rosenbrock, &[0.5, 1.0, 0.0, 0.0, 0.0, 0.0], &limits, 1e-12, 400);
        assert!(found.values[0] > 0.2 && found.values[0] < 0.5);
    }

    #[test]
    fn what_is_not_finite_is_not_converged() {
        let nowhere = |_: &Vector| Linearised { jacobian: [[f64::NAN; MOST]; ROWS], residual: [f64::NAN; ROWS] };
        assert!(!minimise(nowhere, &[1.0; MOST], &FREE, 1e-8, 400).converged);
        let wall = |x: &Vector| if x[0] < -1.1 { rosenbrock(x) } else { nowhere(x) };
        let found = minimise(wall, &[-1.2, 1.0, 0.0, 0.0, 0.0, 0.0], &FREE, 1e-8, 50);
        assert!(found.evaluations <= 50 && found.values[0] < -1.1);
    }

    #[test]
    fn evaluations_are_limited() {
        let found = minimise(rosenbrock, &[-1.2, 1.0, 0.0, 0.0, 0.0, 0.0], &FREE, 1e-12, 5);
        assert_eq!((found.evaluations, found.converged), (5, false));
    }
}
