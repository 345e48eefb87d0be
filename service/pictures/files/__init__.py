"""Picture files, a module a format: read with what they say of themselves, and written again."""
