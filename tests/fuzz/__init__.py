"""A seeded fuzzer: broken copies of good videos, read as the service reads them."""
