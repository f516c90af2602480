"""Predictions as files: masks and images, on the grid and in the format of what they were predicted from."""
