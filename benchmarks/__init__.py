"""What flatcore's steps cost, measured beside NumPy, SciPy and bottleneck: ``python -m benchmarks``.

``data`` makes the nights, ``steps`` holds what each step starts from, ``twins`` the same steps in plain array code,
``rows`` one measurement each, ``growth`` times against size; ``measure`` runs the clock and ``report`` shows it.
Benchmarks inform, they are not tests: nothing fails here for being slow.
"""
