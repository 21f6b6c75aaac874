"""Results for people: pictures, tables, pages."""
