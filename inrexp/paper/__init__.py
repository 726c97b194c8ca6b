"""The paper, equation by equation: no drawing, no command line."""
