"""What builds the site beside the pages written by hand: reference, tables, curves, navigation, executed blocks.

`hook.py` is what mkdocs calls. Everything is read from the package itself, `benchmarks/results` and the notebooks, so
that a new optimizer, namespace, notebook or race has its place without a line here.
"""
