"""The official SDKs, unmodified. One face for the blocking and the asyncio clients of each.

A caller makes a client for every call: what a test sees is never left over from the one before.
"""

import asyncio
import contextlib
import inspect
from types import SimpleNamespace

import anthropic
import openai

OPENAI_MODEL = "gpt-4o-mini"
ANTHROPIC_MODEL = "claude-haiku-4-5"

# The delay of the fake provider per token is 2 ms unless a request says otherwise.
PROMPT = "Tell me about the river. [[tokens={tokens}]] [[delay=0]]"

OPENAI_TOOL = {
    "type": "function",
    "function": {
        "name": "take_note",
        "parameters": {"type": "object", "properties": {"note": {"type": "string"}}},
    },
}
ANTHROPIC_TOOL = {
    "name": "take_note",
    "input_schema": {"type": "object", "properties": {"note": {"type": "string"}}},
}


def prompt(tokens=10, marks=""):
    return PROMPT.format(tokens=tokens) + marks


class Caller:
    """`options` go to the client, beside its address and key."""

    blocking = None
    asyncio = None
    suffix = ""

    def __init__(self, url, key, mode, **options):
        self._options = {"base_url": url + self.suffix, "api_key": key, "timeout": 30, **options}
        self._is_async = mode == "async"

    def _run(self, blocking, coroutine):
        """Exactly one of the two is called, with an open client."""
        if not self._is_async:
            with self.blocking(**self._options) as client:
                return blocking(client)

        async def run():
            async with self.asyncio(**self._options) as client:
                return await coroutine(client)

        return asyncio.run(run())

    def client(self):
        """A blocking client, for tests that hold a stream open."""
        return contextlib.closing(self.blocking(**self._options))


class OpenAICaller(Caller):
    blocking = openai.OpenAI
    asyncio = openai.AsyncOpenAI
    suffix = "/v1"
    sdk = openai

    @staticmethod
    def arguments(content=None, **more):
        return {
            "model": OPENAI_MODEL,
            "messages": [{"role": "user", "content": content or prompt()}],
            "max_tokens": 64,
            **more,
        }

    def create(self, content=None, **more):
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            return await client.chat.completions.create(**arguments)

        return self._run(lambda client: client.chat.completions.create(**arguments), coroutine)

    def create_raw(self, content=None, **more):
        """The parsed answer and the headers."""
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            raw = await client.chat.completions.with_raw_response.create(**arguments)
            answer = raw.parse()
            # Depends on the version of the SDK.
            return (await answer if inspect.isawaitable(answer) else answer), raw.headers

        def blocking(client):
            raw = client.chat.completions.with_raw_response.create(**arguments)
            return raw.parse(), raw.headers

        return self._run(blocking, coroutine)

    def stream(self, content=None, into=None, **more):
        """All chunks. What comes before an error is in `into`."""
        arguments = {**self.arguments(content, **more), "stream": True}
        chunks = [] if into is None else into

        def blocking(client):
            for chunk in client.chat.completions.create(**arguments):
                chunks.append(chunk)

        async def coroutine(client):
            async for chunk in await client.chat.completions.create(**arguments):
                chunks.append(chunk)

        self._run(blocking, coroutine)
        return chunks

    @staticmethod
    def text(chunks):
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    @staticmethod
    def usage(answer):
        return SimpleNamespace(
            input=answer.usage.prompt_tokens, output=answer.usage.completion_tokens
        )


class AnthropicCaller(Caller):
    blocking = anthropic.Anthropic
    asyncio = anthropic.AsyncAnthropic
    sdk = anthropic

    @staticmethod
    def arguments(content=None, **more):
        return {
            "model": ANTHROPIC_MODEL,
            "messages": [{"role": "user", "content": content or prompt()}],
            "max_tokens": 64,
            **more,
        }

    def create(self, content=None, **more):
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            return await client.messages.create(**arguments)

        return self._run(lambda client: client.messages.create(**arguments), coroutine)

    def create_raw(self, content=None, **more):
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            raw = await client.messages.with_raw_response.create(**arguments)
            answer = raw.parse()
            # Depends on the version of the SDK.
            return (await answer if inspect.isawaitable(answer) else answer), raw.headers

        def blocking(client):
            raw = client.messages.with_raw_response.create(**arguments)
            return raw.parse(), raw.headers

        return self._run(blocking, coroutine)

    def stream(self, content=None, into=None, **more):
        """All events. What comes before an error is in `into`."""
        arguments = {**self.arguments(content, **more), "stream": True}
        events = [] if into is None else into

        def blocking(client):
            for event in client.messages.create(**arguments):
                events.append(event)

        async def coroutine(client):
            async for event in await client.messages.create(**arguments):
                events.append(event)

        self._run(blocking, coroutine)
        return events

    def accumulate(self, content=None, **more):
        """The text pieces and the final message, as the SDK's own stream helper gives them."""
        arguments = self.arguments(content, **more)

        def blocking(client):
            with client.messages.stream(**arguments) as stream:
                return list(stream.text_stream), stream.get_final_message()

        async def coroutine(client):
            async with client.messages.stream(**arguments) as stream:
                pieces = [piece async for piece in stream.text_stream]
                return pieces, await stream.get_final_message()

        return self._run(blocking, coroutine)

    @staticmethod
    def text(events):
        deltas = [e.delta for e in events if e.type == "content_block_delta"]
        return "".join(delta.text for delta in deltas if delta.type == "text_delta")

    @staticmethod
    def usage(answer):
        return SimpleNamespace(input=answer.usage.input_tokens, output=answer.usage.output_tokens)
