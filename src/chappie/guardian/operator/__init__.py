"""What an operator reaches over HTTP: the API, its token and events, the page, the metrics."""
