"""Programs written for other libraries, run by gradx: `import gradx.compat.optax as optax`."""
