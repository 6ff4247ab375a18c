"""One method for each route of the API."""
