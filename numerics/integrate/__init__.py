"""Stepping a flow: SciPy's solvers with every record kept, and a matrix-free implicit one."""
