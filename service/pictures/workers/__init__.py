"""The processes that read and write pictures, and what goes between them and the gateway."""
