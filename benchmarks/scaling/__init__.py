"""Training on many devices: processes that run it, what it communicates, and what it will need."""
