#!/usr/bin/env python3
"""A session of the official `openai` client against a running server: every shape of request and every kind of error.

    pip install openai
    mpirun -np 4 --bind-to none build/ternion serve configs/demo --tp 2 --pp 2 --api-key secret --max-sequences 1 --max-queue 4
    tests/tools/openai_session.py --url http://localhost:8000 --key secret

Prints a line for every check and exits with 1 when one has failed; with 77 where the client is not installed. The server
must have the demo model, and a short queue for the last check (RateLimitError), which is left out with --no-overload.
"""

import argparse
import sys
import threading

try:
    import openai
except ImportError:
    print("SKIPPED: no `openai` package here; pip install openai")
    sys.exit(77)

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_raises(kind, status, call, param=None):
    try:
        call()
    except kind as error:
        expect(type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}")
        expect(error.status_code == status, f"status {error.status_code}")
        expect(error.request_id, "no X-Request-Id")
        if param:
            expect(error.body["param"] == param, f"param {error.body}")
        return
    raise AssertionError(f"no {kind.__name__}")


MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is a mutex?"}]


def complete(client, **more):
    return client.completions.create(**{"model": "demo", "prompt": "A mutex is", "max_tokens": 8, "temperature": 0, **more})


def chat(client, **more):
    return client.chat.completions.create(
        **{"model": "demo", "messages": MESSAGES, "max_tokens": 8, "temperature": 0, **more})


@check
def models_are_listed(client):
    expect([model.id for model in client.models.list()] == ["demo"], "one model, demo")


@check
def a_completion(client):
    answer = complete(client)
    expect(answer.object == "text_completion" and answer.model == "demo", answer)
    expect(answer.choices[0].text and answer.choices[0].finish_reason in ("length", "stop"), answer)
    expect(answer.usage.completion_tokens <= 8, answer.usage)
    expect(answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, answer.usage)


@check
def a_streamed_completion_is_the_whole_one(client):
    whole = complete(client, max_tokens=24)
    chunks = list(complete(client, max_tokens=24, stream=True, stream_options={"include_usage": True}))
    expect("".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text, "other text")
    expect(chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens, chunks[-1])
    expect(chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason, chunks[-2])


@check
def a_batch_of_prompts_and_ids(client):
    one = complete(client, prompt="A mutex is").choices[0].text
    two = complete(client, prompt="Templates are").choices[0].text
    both = complete(client, prompt=["A mutex is", "Templates are"])
    expect([c.text for c in both.choices] == [one, two], both)
    expect(complete(client, prompt=[5, 6, 7]).usage.prompt_tokens == 3, "three ids")
    expect(len(complete(client, prompt=[[5, 6], [7]]).choices) == 2, "two lists of ids")


@check
def two_choices_of_one_seed(client):
    first = complete(client, n=2, temperature=0.9, seed=7, max_tokens=16)
    again = complete(client, n=2, temperature=0.9, seed=7, max_tokens=16)
    expect([c.index for c in first.choices] == [0, 1], first)
    expect([c.text for c in first.choices] == [c.text for c in again.choices], "the seed gives the same texts")
    expect(first.choices[0].text != first.choices[1].text, "the choices differ")


@check
def logprobs_and_echo(client):
    answer = complete(client, logprobs=2, echo=True, max_tokens=4, extra_body={"ignore_eos": True})
    told = answer.choices[0].logprobs
    expect(answer.choices[0].text.startswith("A mutex is"), "the prompt stands in front")
    expect(told.token_logprobs[0] is None and all(p <= 0 for p in told.token_logprobs[1:]), told)
    expect(len(told.tokens) == len(told.text_offset) == answer.usage.total_tokens, told)
    expect(all(len(top) in (2, 3) for top in told.top_logprobs[1:]), told)


@check
def a_stop_string_is_not_shown(client):
    text = complete(client, max_tokens=32).choices[0].text
    stop = text[5:9]
    answer = complete(client, max_tokens=32, stop=stop)
    expect(answer.choices[0].text == text[:text.index(stop)], answer)
    expect(answer.choices[0].finish_reason == "stop", answer)


@check
def a_chat(client):
    answer = chat(client, max_completion_tokens=8)
    expect(answer.object == "chat.completion" and answer.id.startswith("chatcmpl-"), answer)
    expect(answer.choices[0].message.role == "assistant" and answer.choices[0].message.content, answer)


@check
def a_streamed_chat_is_the_whole_one(client):
    whole = chat(client, max_tokens=24)
    chunks = list(chat(client, max_tokens=24, stream=True, stream_options={"include_usage": True}))
    expect(chunks[0].choices[0].delta.role == "assistant", chunks[0])
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    expect(text == whole.choices[0].message.content, "other text")
    expect(chunks[-1].usage.total_tokens == whole.usage.total_tokens, chunks[-1])


@check
def a_chat_with_logprobs_and_two_choices(client):
    answer = chat(client, n=2, logprobs=True, top_logprobs=3, temperature=0.8, seed=1)
    expect(len(answer.choices) == 2, answer)
    for token in answer.choices[1].logprobs.content:
        expect(len(token.top_logprobs) == 3 and token.logprob <= 0, token)


@check
def content_in_parts(client):
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "a mutex?"}]}]
    expect(chat(client, messages=parts).choices[0].message.content, "an answer")


@check
def a_stream_that_is_left(client):
    stream = complete(client, max_tokens=1500, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    expect(complete(client, max_tokens=1).choices, "the server goes on")


@check
def bad_requests(client):
    bad = openai.BadRequestError
    expect_raises(bad, 400, lambda: complete(client, temperature=-1), "temperature")
    expect_raises(bad, 400, lambda: complete(client, max_tokens=0), "max_tokens")
    expect_raises(bad, 400, lambda: complete(client, prompt="a " * 5000), "prompt")
    expect_raises(bad, 400, lambda: complete(client, prompt=[99999]), "prompt")
    expect_raises(bad, 400, lambda: complete(client, logit_bias={"99999": 1}), "logit_bias")
    expect_raises(bad, 400, lambda: chat(client, messages=[]), "messages")
    expect_raises(bad, 400, lambda: chat(client, messages=[{"role": "judge", "content": "a"}]), "messages")
    expect_raises(bad, 400, lambda: chat(client, top_logprobs=3), "top_logprobs")
    expect_raises(bad, 400, lambda: chat(client, stream=True, n=0), "n")


@check
def what_is_not_there(client):
    expect_raises(openai.NotFoundError, 404, lambda: complete(client, model="other"), "model")
    expect_raises(openai.NotFoundError, 404, lambda: client.embeddings.create(model="demo", input="a"))


@check
def a_wrong_key(client):
    if not client.api_key:
        return
    other = client.with_options(api_key="wrong")
    expect_raises(openai.AuthenticationError, 401, lambda: complete(other))
    expect_raises(openai.AuthenticationError, 401, lambda: other.models.list())


@check
def a_body_that_is_too_large(client):
    expect_raises(openai.APIStatusError, 413, lambda: complete(client, prompt="a" * (9 << 20)))


def a_full_queue(client):
    """One runs, four wait, and of those behind them at least one must be told to come again."""
    raised = []

    def ask():
        try:
            complete(client, max_tokens=400, extra_body={"ignore_eos": True})
        except openai.APIStatusError as error:
            raised.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(raised, "no request was refused; is --max-queue 4 set?")
    for error in raised:
        expect(type(error) is openai.RateLimitError and error.status_code == 429, error)
        expect(int(error.response.headers["retry-after"]) >= 1, error.response.headers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--key", default="")
    parser.add_argument("--no-overload", action="store_true")
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=arguments.url + "/v1", api_key=arguments.key or "none", max_retries=0, timeout=120)
    if not arguments.key:
        CHECKS.remove(a_wrong_key)
    failed = 0
    for function in CHECKS + ([] if arguments.no_overload else [a_full_queue]):
        name = function.__name__.replace("_", " ")
        try:
            function(client)
            print(f"ok    {name}")
        except Exception as error:  # whatever it is, the next check is worth having
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {str(error)[:300]}")
    print(f"openai {openai.__version__}: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
