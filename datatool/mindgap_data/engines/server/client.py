"""One OpenAI-compatible server: requests run side by side on a loop of their own, its faults become UserErrors."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mindgap_data.engines.server.answers import Choice, read_choice
from mindgap_data.engines.server.window import Window
from mindgap_data.errors import UserError, one_line

_CONNECT_SECONDS = 10.0
_PROBE_RETRIES = 1  # a server that is not there should say so at once

OVERLOADED = (429, 503)  # HTTP statuses of a server that takes no more for now

T = TypeVar("T")


def key_for(base_url: str) -> str | None:
    """The user's OPENAI_API_KEY where ``base_url`` is OpenAI's own; no other server is sent it."""
    host = urlsplit(base_url).hostname or ""
    return os.environ.get("OPENAI_API_KEY") if host == "api.openai.com" else None


class RequestRefusedError(Exception):
    """The server rejects this one request (HTTP 400, 413 or 422); the message is its own, in one line."""


class Server:
    """A client of ``POST <base_url>/completions`` with the retries and time-outs of the openai package."""

    def __init__(
        self, base_url: str, model: str, *, api_key: str | None, concurrency: int | None, timeout: float, retries: int
    ) -> None:
        """Prepare a client; nothing is sent yet."""
        import openai

        self.base_url = base_url.rstrip("/")
        self.model = model
        self._timeout = timeout
        self._retries = retries
        self.window = Window(concurrency, timeout)
        self._flying = 0
        self._client = openai.AsyncOpenAI(
            base_url=self.base_url,
            # Left out, the package would send the user's OPENAI_API_KEY to whatever server this is.
            api_key=api_key or key_for(self.base_url) or "none",
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            max_retries=retries,
            http_client=_watched_client(self._refused_for_now),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mindgap-openai", daemon=True)
        self._thread.start()

    def start(self, body: Mapping[str, Any]) -> Future[Choice]:
        """Send ``body`` (everything but the model's name); the future gives the answer.

        The future raises RequestRefusedError for a fault of this request and UserError for one of the server.
        """
        return self._run(self._complete(body, self._retries))

    def start_each(self, bodies: Sequence[Mapping[str, Any]]) -> Future[tuple[Choice, ...]]:
        """Send ``bodies`` one after another; the future gives all answers, and raises as that of :meth:`start`."""

        async def each() -> tuple[Choice, ...]:
            return tuple([await self._complete(body, self._retries) for body in bodies])

        return self._run(each())

    def ask(self, body: Mapping[str, Any]) -> Choice:
        """The same, waiting for the answer and retrying once at most."""
        return self._run(self._complete(body, min(_PROBE_RETRIES, self._retries))).result()

    def models(self) -> list[Any]:
        """What the server lists as served, empty where it lists nothing."""
        return self._run(self._models()).result()

    def close(self) -> None:
        """Drop what is in flight and the connections."""
        if self._loop.is_closed():
            return
        self._run(self._shutdown()).result(timeout=_CONNECT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _shutdown(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.close()

    async def _models(self) -> list[Any]:
        import openai

        try:
            page = await self._client.with_options(max_retries=min(_PROBE_RETRIES, self._retries)).models.list()
            return [model for model in page.data if isinstance(getattr(model, "id", None), str)]
        except (openai.APITimeoutError, openai.APIConnectionError) as error:
            raise self._fault(error) from error
        except (openai.APIError, ValueError, TypeError, AttributeError):
            return []  # the list is a courtesy; completions will tell

    def _refused_for_now(self) -> None:
        self.window.strained(self._flying)

    async def _complete(self, body: Mapping[str, Any], retries: int) -> Choice:
        import openai

        client = self._client.with_options(max_retries=retries)
        self._flying += 1
        try:
            return await self._answer(client, body)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise RequestRefusedError(_server_message(error)) from error
        except openai.APIStatusError as error:
            if error.status_code == 413:
                raise RequestRefusedError(_server_message(error)) from error
            raise self._fault(error) from error
        except (openai.APIError, ValueError) as error:
            raise self._fault(error) from error
        finally:
            self._flying -= 1

    async def _answer(self, client: Any, body: Mapping[str, Any]) -> Choice:
        """The server's answer; refused for now, it is asked again while more requests are out than the window holds."""
        import openai

        first = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                answer = await client.completions.create(model=self.model, prompt=body["prompt"], extra_body={**body})
            except openai.APIStatusError as error:
                waits = client.max_retries > 0 and time.monotonic() - first < self._timeout
                if error.status_code in OVERLOADED and waits and self._flying > self.window.size:
                    continue
                raise
            choice = read_choice(answer)
            if choice is None:
                raise UserError(
                    f"{self.base_url} answers /completions with something else than a completion; is it an "
                    "OpenAI-compatible server, and does --base-url end in /v1?"
                )
            now = time.monotonic()
            self.window.answered(now, now - began, min(len(choice.logprobs), body["max_tokens"]))
            return choice

    def _fault(self, error: Exception) -> UserError:
        """The user's line for a server that fails."""
        import openai

        again = "then run the same command again: it continues"
        if isinstance(error, openai.APITimeoutError):
            return UserError(
                f"{self.base_url} gave no answer within {self._timeout:g} s; raise --request-timeout, lower "
                f"--concurrency or look at the server, {again}"
            )
        if isinstance(error, openai.APIConnectionError):
            cause = one_line(error.__cause__ or error)
            return UserError(f"{self.base_url} cannot be reached ({cause}); start the server, {again}")
        if isinstance(error, openai.APIStatusError):
            status, message = error.status_code, _server_message(error)
            if status in (401, 403):
                return UserError(f"{self.base_url} refuses the API key (HTTP {status}: {message}); set --api-key")
            if status == 404:
                return UserError(
                    f"{self.base_url} has no model {self.model!r} under /completions (HTTP 404: {message}); name a "
                    "served one with --engine-arg model=NAME, and end --base-url in /v1"
                )
            return UserError(f"{self.base_url} keeps failing (HTTP {status}: {message}); look at its log, {again}")
        return UserError(
            f"{self.base_url} answers with something else than JSON ({one_line(error)}); look at it, {again}"
        )


def _watched_client(strained: Callable[[], None]) -> Any:
    """openai's HTTP client; ``strained`` is called for every attempt that is refused for now or times out."""
    import httpx
    import openai

    class Watched(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            try:
                response = await super().send(request, **options)
            except (httpx.ReadTimeout, httpx.WriteTimeout):
                strained()
                raise
            if response.status_code in OVERLOADED:
                strained()
            return response

    return Watched()


def _server_message(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        message = body.get("message") or body.get("detail") or body.get("error")
        if isinstance(message, str):
            return one_line(message)
    return one_line(error)
