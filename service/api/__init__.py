"""The gateway over HTTP: application, middleware, bodies, negotiation, routes."""
