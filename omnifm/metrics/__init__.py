"""How good a picture, a region or an answer is: measures, each a function of tensors, that the tasks report."""
