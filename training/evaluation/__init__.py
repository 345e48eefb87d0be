"""How good a model is: figures, contact sheets, reports."""
