"""The gateway over HTTP: what answers first, application, middleware, bodies, negotiation, routes."""
