"""Record the experts that each token used, and the scores by which its router chose them."""
