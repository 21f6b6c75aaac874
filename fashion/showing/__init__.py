"""Results for people: charts, tables, pages."""
