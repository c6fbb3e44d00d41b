"""The whole way with the client beside this file: deploy, wait, ask about its health, chat, roll back, delete.

    python examples/serving_client.py workflow --model python_helper
"""

import argparse
import os
import sys
from collections.abc import Sequence

from serving_client import ServingClient, ServingError


def workflow(client: ServingClient, model: str, route: str, then: str | None, say: str = "What is a KeyError?") -> None:
    """Deploy, wait, ask about its health, chat, deploy the next version if there is one, roll back, delete."""
    endpoint = client.wait(client.deploy(model, route=route)["id"])
    print(f"{route} serves {endpoint['modelName']} {endpoint['version']}: {client.health(route)['status']}")
    answer = client.chat(route, say, {"max_tokens": 32})
    print(f"it says {answer.text!r} ({answer.usage['total_tokens']} tokens, {answer.finish_reason})")
    print("the same as a stream: ", end="")
    for piece in client.stream(route, say, {"max_tokens": 32}):
        print(piece.text, end="", flush=True)
    if then:
        endpoint = client.wait(client.deploy(then, route=route)["id"])
        print(f"\n{route} now serves {endpoint['modelName']} {endpoint['version']}, revision {endpoint['revision']}")
    endpoint = client.rollback(endpoint["id"])
    endpoint = client.wait(endpoint["id"], until="healthy" if endpoint["maxReplicas"] else "stopped")
    print(f"\nrolled back: {route} is {endpoint['status']} with {endpoint['modelName']} {endpoint['version']}")
    client.delete(endpoint["id"])
    print(f"{route} is taken away")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when the platform refused or did not answer. LLMOPS_TOKEN is the token, if one is needed."""
    parser = argparse.ArgumentParser(description="Walk with an approved model from its deployment to its end.")
    parser.add_argument("what", choices=["workflow"], help="workflow: the whole way")
    parser.add_argument("--url", default=os.environ.get("LLMOPS_URL", "http://localhost:8000"))
    parser.add_argument("--model", default="python_helper", help="an approved model: id, name or name@version")
    parser.add_argument("--then", help="another version to deploy after it, so that there is one to go back to")
    parser.add_argument("--route", default="serving-client")
    asked = parser.parse_args(arguments)
    with ServingClient(asked.url, token=os.environ.get("LLMOPS_TOKEN")) as client:
        try:
            workflow(client, asked.model, asked.route, asked.then)
        except ServingError as error:
            print(error, file=sys.stderr)
            return 1
    return 0
