"""Exports: files made of a job's records. One file each, named after the format."""
