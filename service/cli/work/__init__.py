"""What verbs work with: this process or a gateway, files that are written whole, clips, and the lines that are printed."""
