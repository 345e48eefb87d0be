"""Pictures on disk and made here, as sources of training pairs."""
