"""Building blocks: transformations that are no optimizer by themselves."""
