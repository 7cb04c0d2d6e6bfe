"""The demo: a drawn street, understood by a service of its own, and held against the truth. `make demo` runs it."""
