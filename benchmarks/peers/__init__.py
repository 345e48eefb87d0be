"""The same ONNX model and loop in other servers."""

import socket


def listening() -> socket.socket:
    """A socket that listens on a free port of the loopback address; its address is printed as the gateway prints its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"answers at http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    return listener
