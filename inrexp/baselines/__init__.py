"""The methods that the paper compares with: GradCAM and RISE."""
