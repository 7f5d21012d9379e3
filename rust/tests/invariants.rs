//! Invariants
