"""Pictures kept as they came: hostile bytes in, pixels out, and back with profile, orientation, alpha, depth and metadata."""
