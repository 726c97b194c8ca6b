"""The methods that the paper compares with, GradCAM and RISE; and the gradient, from which a fit may start."""
