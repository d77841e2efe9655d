"""The current `openai` package against the gateway. Started by tests/tests/openai_sdk.rs, which sets the addresses."""

import asyncio
import json
import os
import time
import unittest
import urllib.request

import httpx2 as httpx  # the transport of today's openai package
import openai
from openai import AsyncOpenAI, OpenAI

BASE_URL = os.environ["KT_BASE_URL"]
FAKE_URL = os.environ["KT_FAKE_URL"]
KEYS = json.loads(os.environ["KT_KEYS"])

LLAMA_70B = "databricks-meta-llama-3-3-70b-instruct"
LLAMA_405B = "databricks-meta-llama-3-1-405b-instruct"
DBRX = "databricks-dbrx-instruct"
BGE = "databricks-bge-large-en"


def client(role="data-engineer", **options):
    return OpenAI(base_url=BASE_URL, api_key=KEYS[role], **options)


def user(text):
    return [{"role": "user", "content": text}]


def fake(path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(FAKE_URL + path, data, headers), timeout=10) as reply:
        return json.loads(reply.read() or b"null")


class counted:
    """A client that counts the requests it sends, retries included."""

    def __init__(self, **options):
        self.sent = 0

        def count(_request):
            self.sent += 1

        http = httpx.Client(event_hooks={"request": [count]})
        self.client = client(http_client=http, **options)


class Answers(unittest.TestCase):
    def test_chat(self):
        reply = client().chat.completions.create(
            model=LLAMA_70B,
            messages=[
                {"role": "system", "content": "You are a data engineering expert."},
                {"role": "user", "content": "Write a PySpark query to compute 7-day rolling average sales by region."},
            ],
            max_tokens=1024,
            temperature=0.2,
        )
        self.assertTrue(reply.choices[0].message.content)
        self.assertGreater(reply.usage.total_tokens, 0)

    def test_headers_name_pack_verdict_and_target(self):
        raw = client().chat.completions.with_raw_response.create(model=LLAMA_70B, messages=user("hello"))
        self.assertRegex(raw.headers["x-keeptrusts-pack"], r"^databricks-enterprise@1\.0\.1$")
        self.assertEqual(raw.headers["x-keeptrusts-verdict"], "allow")
        self.assertEqual(raw.headers["x-keeptrusts-target"], "databricks-llama-70b")
        self.assertTrue(raw.headers["x-request-id"])

    def test_the_pages_loop_over_create_with_stream(self):
        text = ""
        for chunk in client().chat.completions.create(model=LLAMA_70B, messages=user("say: one two three"), stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                text += chunk.choices[0].delta.content
        self.assertEqual(text.strip(), "one two three")

    def test_the_stream_helper_gives_content_delta_events(self):
        text = ""
        with client().chat.completions.stream(model=LLAMA_70B, messages=user("say: one two three"), max_tokens=2048) as stream:
            for event in stream:
                if event.type == "content.delta":
                    text += event.delta
        self.assertEqual(text.strip(), "one two three")

    def test_the_pages_loop_over_the_stream_helper_fails_in_this_package(self):
        with self.assertRaisesRegex(AttributeError, "'ChunkEvent' object has no attribute 'choices'"):
            with client().chat.completions.stream(model=LLAMA_70B, messages=user("say: one"), max_tokens=64) as stream:
                for chunk in stream:
                    if chunk.choices[0].delta.content:
                        pass

    def test_tool_calls(self):
        tools = [{
            "type": "function",
            "function": {
                "name": "get_table",
                "description": "Looks a table up.",
                "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
        }]
        first = client().chat.completions.create(model=LLAMA_70B, messages=user("call the tool"), tools=tools)
        call = first.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "get_table")
        json.loads(call.function.arguments)
        second = client().chat.completions.create(
            model=LLAMA_70B,
            messages=[
                *user("call the tool"),
                first.choices[0].message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "42 rows"},
            ],
            tools=tools,
        )
        self.assertEqual(second.choices[0].finish_reason, "stop")

    def test_streamed_tool_calls(self):
        tools = [{"type": "function", "function": {"name": "get_table", "parameters": {"type": "object", "properties": {}}}}]
        arguments = ""
        for chunk in client().chat.completions.create(model=LLAMA_70B, messages=user("call the tool"), tools=tools, stream=True):
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or []:
                    arguments += call.function.arguments or ""
        json.loads(arguments)

    def test_embeddings_have_1024_dimensions(self):
        reply = client().embeddings.create(model=BGE, input="quarterly revenue by product line")
        self.assertEqual(len(reply.data[0].embedding), 1024)
        reply = client().embeddings.create(model=BGE, input=["one", "two"], encoding_format="float")
        self.assertEqual([len(item.embedding) for item in reply.data], [1024, 1024])

    def test_models_lists_what_the_role_may_use(self):
        engineer = [model.id for model in client().models.list()]
        analyst = [model.id for model in client("analyst").models.list()]
        self.assertIn(BGE, engineer)
        self.assertEqual(analyst, [LLAMA_70B])


class Refusals(unittest.TestCase):
    def test_a_block_is_a_conflict_and_is_not_retried(self):
        counting = counted(max_retries=2)
        with self.assertRaises(openai.ConflictError) as caught:
            counting.client.chat.completions.create(model=LLAMA_70B, messages=user("token: dapi" + "0" * 32))
        self.assertEqual(counting.sent, 1)
        error = caught.exception
        self.assertEqual(error.code, "input_blocked")
        self.assertEqual(error.body["policy"], "dlp-filter")
        self.assertEqual(error.body["rule"], "databricks-pat")
        self.assertEqual(error.param, "messages[0].content")

    def test_a_block_of_a_stream_is_the_same(self):
        counting = counted(max_retries=2)
        with self.assertRaises(openai.ConflictError):
            counting.client.chat.completions.create(
                model=LLAMA_70B, messages=user("token: dapi" + "0" * 32), stream=True)
        self.assertEqual(counting.sent, 1)

    def test_a_forbidden_model_is_permission_denied(self):
        with self.assertRaises(openai.PermissionDeniedError) as caught:
            client("analyst").chat.completions.create(model=LLAMA_405B, messages=user("hello"))
        self.assertEqual(caught.exception.code, "model_not_allowed")

    def test_too_many_tokens_is_permission_denied_with_the_limit(self):
        with self.assertRaisesRegex(openai.PermissionDeniedError, "2048"):
            client("analyst").chat.completions.create(model=LLAMA_70B, messages=user("hello"), max_tokens=100_000)

    def test_a_wrong_key_is_an_authentication_error(self):
        with self.assertRaises(openai.AuthenticationError):
            OpenAI(base_url=BASE_URL, api_key="kt_gk_" + "0" * 40).models.list()
        with self.assertRaisesRegex(openai.AuthenticationError, "gateway key"):
            OpenAI(base_url=BASE_URL, api_key="dapi" + "0" * 32).models.list()

    def test_an_unknown_model_is_not_found_and_lists_the_targets(self):
        with self.assertRaisesRegex(openai.NotFoundError, LLAMA_70B) as caught:
            client().chat.completions.create(model="gpt-unknown", messages=user("hello"))
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_a_malformed_request_is_a_bad_request(self):
        with self.assertRaises(openai.BadRequestError):
            client().chat.completions.create(model=LLAMA_70B, messages="not a list")


class Upstream(unittest.TestCase):
    """Databricks' own refusals, as OpenAI's clients know them. DBRX is used, so that no other test meets the script."""

    def scripted(self, behaviour, **options):
        fake("/__fake/script", {"endpoint": DBRX, "behaviour": behaviour, "times": 1})
        return client(max_retries=0, **options).chat.completions.create(model=DBRX, messages=user("hello"))

    def test_a_rate_limit_carries_retry_after(self):
        for behaviour in ("429-retry-after", "429-documented", "429"):
            with self.subTest(behaviour), self.assertRaises(openai.RateLimitError) as caught:
                self.scripted(behaviour)
            self.assertEqual(caught.exception.code, "rate_limit_exceeded")
            self.assertGreater(int(caught.exception.response.headers["retry-after"]), 0)

    def test_a_context_that_is_too_long_has_openais_code(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.scripted("400-external")
        self.assertEqual(caught.exception.code, "context_length_exceeded")

    def test_databricks_message_reaches_the_client_unwrapped(self):
        with self.assertRaisesRegex(openai.BadRequestError, "Extra inputs are not permitted") as caught:
            self.scripted("400-nested-once")
        self.assertNotIn("{", caught.exception.body["message"])

    def test_capacity_is_a_server_error(self):
        with self.assertRaises(openai.InternalServerError):
            self.scripted("503")


class Concurrency(unittest.TestCase):
    def test_200_streams_at_once(self):
        async def one(asynchronous, number):
            text = ""
            stream = await asynchronous.chat.completions.create(
                model=LLAMA_70B, messages=user(f"say: stream number {number} is whole"), stream=True)
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    text += chunk.choices[0].delta.content
            return text.strip()

        async def everything():
            http = httpx.AsyncClient(limits=httpx.Limits(max_connections=250), timeout=60)
            async with AsyncOpenAI(base_url=BASE_URL, api_key=KEYS["data-engineer"], http_client=http, max_retries=0) as asynchronous:
                return await asyncio.gather(*(one(asynchronous, number) for number in range(200)))

        texts = asyncio.run(everything())
        self.assertEqual(texts, [f"stream number {number} is whole" for number in range(200)])

    def test_a_disconnect_mid_stream_reaches_upstream(self):
        fake("/__fake/script", {"endpoint": DBRX, "behaviour": "stream-endless", "times": 1})
        stream = client().chat.completions.create(model=DBRX, messages=user("never ends"), stream=True)
        next(iter(stream))
        stream.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            ends = [seen.get("end") for seen in fake("/__fake/requests") if "never ends" in json.dumps(seen["body"])]
            if ends and ends[-1] and ends[-1]["outcome"] == "disconnected":
                return
            time.sleep(0.05)
        self.fail(f"upstream went on after the client left: {ends}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
