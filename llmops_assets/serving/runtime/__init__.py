"""The local model server: one model folder behind an OpenAI-compatible API, on one machine.

    __main__.py     the command: arguments, the server's life
    confinement.py  what its process may not do
    app.py          routes
    protocol.py     bodies in, answers and errors out, in OpenAI's shapes
    prompts.py      messages to tokens
    streaming.py    answers out: server-sent events, and clients that go away
    engine.py       the model thread: requests join and leave a running batch between two tokens
    schedule.py     who runs and who waits
    loading.py      the folder verified and loaded
    requests.py     one answer on its way
    sampling.py     the next token of every row
    text.py         tokens to text as they come, stop strings
    measures.py     Prometheus

The batch itself is `llmops_assets.decoding`. It serves what it is pointed at. Whether that model may be served is
decided and checked by who starts it.
"""
