"""Pages of the reference that are made from the package itself, when the site is built."""
