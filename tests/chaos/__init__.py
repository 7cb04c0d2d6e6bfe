"""A chaos runner: real jobs on a real deployment while a nemesis breaks it, and a checker that forgives nothing."""
