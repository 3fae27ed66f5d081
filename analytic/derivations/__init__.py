"""SymPy derivations of the closed forms from the definitions.

Each function returns the expression it obtains, in the symbols of `analytic.derivations.symbols`;
the tests compare it with the closed form called with the same symbols. Nothing here is imported by
``import analytic``, and nothing here imports a closed form.
"""
