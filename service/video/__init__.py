"""Clips: frames read and written in a confined process, restored one by one without flicker, work kept in segments."""
