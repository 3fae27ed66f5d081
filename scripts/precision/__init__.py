"""How accurate every closed form and flow is: oracles in exact arithmetic, and a table.

The oracles are written from the definitions, with `fractions.Fraction` where a form is rational
and mpmath elsewhere; they import nothing of the code under test. `verify.py --precision` prints
the table, and the tests hold each docstring's ``Accuracy: n eps`` against it.

What is stated is the size of the roundings on the longest path, half an eps for each operation and
one for an elementary function, with the D ≤ 12 terms of a sum counted as few, since their
roundings are independent: a bound that was tried, and no proof. The worst found is most often two
to eight times smaller.
"""
