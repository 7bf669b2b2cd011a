"""``moe-eval report``: one page on what a smaller k costs and gains, from finished runs.

``series`` reads and groups the runs, ``analysis`` computes, ``findings``, ``charts``, ``tables``,
``questions`` and ``provenance`` show, and ``build`` fills in the page.
"""
