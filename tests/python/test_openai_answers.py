"""The current `openai` package reading answers that are masked or blocked. Started by cli/tests/openai_sdk.rs."""

import json
import os
import unittest

import openai
from openai import OpenAI

client = OpenAI(base_url=os.environ["KT_BASE_URL"], api_key="unused", max_retries=2)

LLAMA = "databricks-meta-llama-3-3-70b-instruct"
CALLS = "fake-stream-tool-calls-mixed"
GPT = "fake-external-openai"
MAIL = "jane.roe@example.com"
TOKEN = "dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FILLER = "and these are words that say nothing of anybody, so they may leave; " * 9


def user(text):
    return [{"role": "user", "content": text}]


def stream(model, text, **options):
    return client.chat.completions.create(model=model, messages=user(text), stream=True, **options)


class Masked(unittest.TestCase):
    def test_a_whole_answer(self):
        reply = client.chat.completions.create(model=LLAMA, messages=user(f"say: write to {MAIL} today"))
        self.assertEqual(reply.choices[0].message.content, "write to <EMAIL_ADDRESS> today")

    def test_a_stream(self):
        text, reasons, usage = "", [], None
        for chunk in stream(LLAMA, f"say: {FILLER}write to {MAIL} today", stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
        self.assertEqual(text.strip(), f"{FILLER}write to <EMAIL_ADDRESS> today")
        self.assertEqual(reasons, ["stop"])
        self.assertGreater(usage.completion_tokens, 0)

    def test_the_stream_helper(self):
        with client.chat.completions.stream(model=LLAMA, messages=user(f"say: write to {MAIL} today")) as events:
            for _ in events:
                pass
            message = events.get_final_completion().choices[0].message
        self.assertEqual(message.content.strip(), "write to <EMAIL_ADDRESS> today")

    def test_streamed_calls(self):
        arguments = {}
        for chunk in stream(CALLS, f"say: {MAIL}"):
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or []:
                    arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
        self.assertIn({"email": "<EMAIL_ADDRESS>"}, [json.loads(text) for text in arguments.values()])

    def test_a_response(self):
        reply = client.responses.create(model=GPT, input=f"say: write to {MAIL} today")
        self.assertEqual(reply.output_text, "write to <EMAIL_ADDRESS> today")

    def test_a_streamed_response(self):
        text, last = "", None
        for event in client.responses.create(model=GPT, input=f"say: {FILLER}write to {MAIL} today", stream=True):
            if event.type == "response.output_text.delta":
                text += event.delta
            last = event
        self.assertEqual(text.strip(), f"{FILLER}write to <EMAIL_ADDRESS> today")
        self.assertEqual(last.type, "response.completed")
        self.assertEqual(last.response.output_text.strip(), text.strip())


class Blocked(unittest.TestCase):
    def test_a_whole_answer_is_a_conflict(self):
        with self.assertRaises(openai.ConflictError) as caught:
            client.chat.completions.create(model=LLAMA, messages=user(f"say: take {TOKEN}"))
        self.assertEqual(caught.exception.code, "output_blocked")

    def read(self, events, text_of):
        text = ""
        with self.assertRaises(openai.APIError) as caught:
            for event in events:
                text += text_of(event) or ""
        # The answer had begun: no status tells of it any more, so it is none of the classes of a status.
        self.assertNotIsInstance(caught.exception, openai.APIStatusError)
        self.assertEqual(caught.exception.code, "output_blocked")
        self.assertEqual(caught.exception.body["rule"], "DATABRICKS_TOKEN")
        self.assertNotIn("dapi", text)
        self.assertTrue(text.startswith("and these are words"))

    def test_a_stream_is_an_api_error(self):
        events = stream(LLAMA, f"say: {FILLER}take {TOKEN} and go")
        self.read(events, lambda chunk: chunk.choices[0].delta.content if chunk.choices else "")

    def test_a_streamed_response_is_an_api_error(self):
        events = client.responses.create(model=GPT, input=f"say: {FILLER}take {TOKEN} and go", stream=True)
        self.read(events, lambda event: event.delta if event.type == "response.output_text.delta" else "")


if __name__ == "__main__":
    unittest.main()
