"""One page that answers what a smaller k costs and what it gains, made from finished runs.

``points`` reads and sorts the runs, ``numbers`` computes, the charts, ``columns``, ``questions``
and ``provenance`` show, and ``build`` puts it together.
"""
