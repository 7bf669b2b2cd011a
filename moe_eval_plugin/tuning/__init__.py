"""Find the schedule of k that loses least at a price: sensitivities, prices, search."""
