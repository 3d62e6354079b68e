"""The HTML pages: charts, sections and templates. May import `analysis` and what that may import; no torch, no ray."""
