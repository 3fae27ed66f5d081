"""Reports of a verification: one list of records, written as HTML, Markdown and JSON."""
