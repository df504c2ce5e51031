"""Tables, figures and records of error against cost."""
