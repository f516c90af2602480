"""New images in, what a trained model says of them out."""
