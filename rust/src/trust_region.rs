//! Bounded nonlinear least squares by a trust region that reflects from the bounds: the solver; its steps are those of
//! [`crate::trust_step`].
//!
//! Sources: Branch, Coleman & Li 1999, SIAM J. Sci. Comput. 21, 1 (scaling by the distance to the bounds, reflected
//! steps); More 1978, Numerical Analysis, LNM 630, 105 (the step on the trust region). Constants are those with which
//! SciPy's `least_squares` runs the method "trf": from the same start both find the same minimum.

use crate::trust_step::{Model, Spectrum, add, norm};

/// Most parameters a problem has.
pub const MOST: usize = 6;
/// Rows of a reduced problem: a triangle of Jacobian and residual.
pub(crate) const ROWS: usize = MOST + 1;

pub(crate) type Vector = [f64; MOST];

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
/// Parameters whose column of the Jacobian is 0 stay where they are. Stops where the cost falls, or the parameters
/// move, by less than the share `tolerance`, where the scaled gradient is below it, or after `most` evaluations.
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
    pub(crate) fn allow(&self, x: &Vector) -> bool {
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
    pub(crate) fn steps_to(&self, x: &Vector, step: &Vector) -> (f64, [bool; MOST]) {
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
