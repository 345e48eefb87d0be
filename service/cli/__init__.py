"""The verbs of the service on the command line."""
