"""`sentigraph status`: what runs, and how well."""
