"""Many nights: what one costs, measured, and what thousands would on a hundred workers, simulated."""
