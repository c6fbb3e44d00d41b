"""The local model server: one model folder behind an OpenAI-compatible API, on one machine.

    __main__.py   the command: arguments, the server's life
    app.py        routes: JSON and server-sent events
    protocol.py   bodies in, answers and errors out, in OpenAI's shapes
    engine.py     the model thread: requests join and leave a running batch between two tokens
    batch.py      the tensors of that batch
    text.py       tokens to text as they come, stop strings

It serves what it is pointed at. Whether that model may be served is decided and checked by who starts it.
"""
