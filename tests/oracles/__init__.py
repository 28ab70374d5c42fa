"""References written from the definitions, in float64 NumPy, one file beside each file of gradx that they check."""
