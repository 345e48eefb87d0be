"""What runs the network: every engine has the shape of `service.engines.contract.Engine`, and they wrap one another."""
