"""Things to touch: one widget a file, alive in a notebook and in the rendered page alike."""
