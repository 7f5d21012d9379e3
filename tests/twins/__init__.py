"""Plain NumPy/SciPy twins of the Rust kernels.

Each function here says in the shortest readable way what its kernel computes, in double precision and without regard to
speed. Tests hold the kernels to them, NaN and edges included; benchmarks time them as the reference.
"""
