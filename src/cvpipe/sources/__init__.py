"""Sources: where a job's video comes from. One file each; the file's name is the key of a job request.

- `upload`: the client sends the file; it is kept under its sha256 in the data directory;
- `path`: the file is on the server already, under a folder that the operator has opened to jobs.
"""
