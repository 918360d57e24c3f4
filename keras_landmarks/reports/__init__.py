"""The HTML report: its sections, charts and page template."""
