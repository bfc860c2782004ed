"""Tools: from Python functions and others' JSON to checked schemas; the linter; arguments against a schema."""
